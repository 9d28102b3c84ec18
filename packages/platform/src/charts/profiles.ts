/**
 * A chart's profiles: `profiles/<name>/` with `values.yaml`, `secrets.yaml` (encrypted), and `profile.yaml`, which may name
 * the profile that this one extends. A chart's folder and an unpacked package are alike.
 */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { Type } from "typebox";
import { suggest } from "../project/nearest.ts";
import { defaultProfile } from "../project/workspace.ts";
import { validate } from "../project/validate.ts";
import { readLimited, readYamlFile } from "../project/yaml-file.ts";
import type { Layer } from "./layers.ts";

const ProfileFile = Type.Object(
  { extends: Type.Optional(Type.String({ minLength: 1 })) },
  { additionalProperties: false },
);

/** The names of the chart's profiles. */
export async function profileNames(chart: string): Promise<string[]> {
  const dir = join(chart, "profiles");
  if (!existsSync(dir)) return [];
  const entries = await readdir(dir, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}

/** The profile and those that it extends, the first base first. Throws for bases that do not exist or lead back. */
export async function profileChain(chart: string, profile: string): Promise<string[]> {
  const known = await profileNames(chart);
  if (!known.includes(profile)) throw unknownProfile(chart, profile, known);
  const chain = [profile];
  for (;;) {
    const extending = chain[0] ?? profile;
    const base = await baseOf(chart, extending);
    if (base === undefined) return chain;
    const others = known.filter((name) => name !== extending);
    if (!known.includes(base.name)) {
      throw new UserError(
        `the profile "${extending}" extends "${base.name}", which the chart does not have`,
        {
          code: "config",
          at: base.at,
          fix: suggest(base.name, others, `Add profiles/${base.name}/values.yaml.`),
        },
      );
    }
    const seen = chain.indexOf(base.name);
    if (seen !== -1) {
      const circle = [...chain.slice(0, seen + 1).reverse(), base.name];
      throw new UserError(`profiles extend each other in a circle: ${circle.join(" → ")}`, {
        code: "config",
        at: base.at,
        fix: "Take one `extends` away.",
      });
    }
    chain.unshift(base.name);
  }
}

/** For a profile that a chart does not have; `known` are those that it has. */
export function unknownProfile(chart: string, profile: string, known: string[]): UserError {
  return new UserError(`the chart ${chart} has no profile "${profile}"`, {
    code: "not-found",
    fix: suggest(profile, known, `Add profiles/${profile}/values.yaml to it.`),
  });
}

/** A package's profile, as it was asked for. */
export interface AskedProfile {
  /** `service version`. */
  name: string;
  profile: string;
  /** For this package, and not for all. */
  chosen: boolean;
  /** The profiles that its chart has. */
  known: string[];
}

/**
 * Throws `not-found` for a profile that was chosen for a package without it, and for one for all that no package has: a slip
 * would install the defaults. `local` is every chart's, also where it changes nothing.
 */
export function refuseUnknownProfiles(asked: AskedProfile[]): void {
  for (const { name, profile, chosen, known } of asked) {
    if (chosen && !known.includes(profile)) throw unknownProfile(name, profile, known);
  }
  const forAll = asked.find(({ chosen, profile }) => !chosen && profile !== defaultProfile)?.profile;
  if (forAll === undefined || asked.some(({ known }) => known.includes(forAll))) return;
  throw new UserError(`no package has the profile "${forAll}"`, {
    code: "not-found",
    fix: suggest(
      forAll,
      [...new Set(asked.flatMap(({ known }) => known))],
      `Add profiles/${forAll}/values.yaml to a chart.`,
    ),
  });
}

/** What a profile consists of. */
export const profileFiles = ["values.yaml", "secrets.yaml", "profile.yaml"];

/** What a profile extends itself, and where it says so. A YAML file of another name, which nothing would read, is refused. */
async function baseOf(chart: string, profile: string): Promise<{ name: string; at: string } | undefined> {
  const dir = join(chart, "profiles", profile);
  const stray = (await readdir(dir)).find(
    (name) => /^[^.].*\.ya?ml$/.test(name) && !profileFiles.includes(name),
  );
  if (stray !== undefined) {
    throw new UserError(`${stray} is no file of a profile`, {
      code: "config",
      at: join(dir, stray),
      fix: suggest(stray, profileFiles, ""),
    });
  }
  const path = join(dir, "profile.yaml");
  if (!existsSync(path)) return undefined;
  const file = await readYamlFile(path);
  if (file.value === null || file.value === undefined) return undefined;
  const base = validate(file, ProfileFile, "the profile").extends;
  return base === undefined ? undefined : { name: base, at: file.at(["extends"]) };
}

/**
 * The chart's own values, and what a profile puts over them, the lowest first: the layers of the bases, then its own, of each
 * the values and then the secrets.
 */
export async function profileLayers(chart: string, profile: string | undefined): Promise<Layer[]> {
  const chain = profile === undefined ? [] : await profileChain(chart, profile);
  const layers = await Promise.all([
    readLayer("defaults", "defaults", join(chart, "values.yaml")),
    ...chain.flatMap((name) =>
      (["values", "secrets"] as const).map((kind) =>
        readLayer(name, kind, join(chart, "profiles", name, `${kind}.yaml`)),
      ),
    ),
  ]);
  return layers.filter((layer) => layer !== undefined);
}

async function readLayer(name: string, kind: Layer["kind"], file: string): Promise<Layer | undefined> {
  return existsSync(file) ? { name, kind, file, text: await readLimited(file) } : undefined;
}
