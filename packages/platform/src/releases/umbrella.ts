/**
 * Whether a manifest is installed as one Helm release, or as one for each service: which of them it can be, what the namespace
 * has already, and what the user wants.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { sha256 } from "@kws/oci/descriptor";
import { type RenderedRelease, renderRelease, type RenderOptions } from "../charts/render.ts";
import type { Release } from "../services/releases.ts";
import { partObjects } from "../stacks/parts.ts";
import { objectsIn } from "./changes.ts";
import type { PackageSource } from "../packages/fetch.ts";
import { type Manifest, packUmbrella } from "./manifest.ts";
import { type Prepared, renderPrepared } from "../packages/prepare.ts";
import { reworded } from "../packages/reword.ts";
import type { Unit } from "./unit.ts";
import { refuseSealedManifests } from "../packages/sealed.ts";

/** Bytes that a Secret can hold, in which Helm keeps a release (`MaxSecretSize` of Kubernetes). */
export const releaseLimit = 1024 * 1024;

/** Whether Helm can keep it; a part is left for what it adds: descriptions, notes of hooks. */
export function fits(size: number): boolean {
  return size <= releaseLimit * 0.95;
}

/** `412 KiB of the 1024 KiB that Helm can keep`. */
export function formatSize(size: number): string {
  return `${Math.ceil(size / 1024)} KiB of the ${releaseLimit / 1024} KiB that Helm can keep`;
}

export interface Umbrella {
  unit: Unit;
  /** Bytes of the Secret in which Helm would keep the release. */
  size: number;
  /** Why it cannot be one release. */
  obstacle?: string;
}

export interface UmbrellaOptions extends Omit<RenderOptions, "release"> {
  source: PackageSource;
  /** Private, and removed by the caller. */
  folder: string;
}

/** The manifest as one release, with the packages' profiles opened. Throws where something in it is still encrypted. */
export async function planUmbrella(
  manifest: Manifest,
  parts: Prepared[],
  options: UmbrellaOptions,
): Promise<Umbrella> {
  const { name, number, packages } = manifest;
  // Without the values that the manifest was built with: other profiles may be wanted.
  const entries = parts.map(({ found, profile }) => {
    const dependsOn = packages.find(({ service }) => service === found.service)?.dependsOn ?? [];
    return { found, profile, dependsOn, values: {} };
  });
  const { archive } = await packUmbrella(options.source, manifest, entries);
  const dir = join(options.folder, `${name}-${number}.0.0.tgz`);
  await writeFile(dir, archive);
  const values = Object.fromEntries(parts.map(({ found, chart }) => [found.service, chart.values]));
  const layers = parts.flatMap(({ chart }) => chart.layers);
  const chart = { dir, digest: sha256(archive), layers, values };
  const rendered = await reworded(
    (text) => text.replaceAll(dir, `${name}:${number}`),
    async () => {
      const { kubeconfig, ...offline } = { ...options, release: name };
      const result = await renderRelease(chart, offline).catch((error: unknown) => {
        if (kubeconfig === undefined) throw error;
        return renderRelease(chart, { ...offline, kubeconfig });
      });
      const hooks = result.hooks.map((hook) => `# Source: ${hook.path}\n${hook.manifest}`);
      refuseSealedManifests([result.manifest, ...hooks].join("\n---\n"));
      return result;
    },
  );
  const unit: Unit = {
    release: name,
    together: true,
    parts,
    chart: { ...chart, hasHooks: rendered.hooks.length > 0 },
    version: `${number}.0.0`,
  };
  const obstacle = await obstacleIn(rendered, { manifest, parts }, options);
  return { unit, size: rendered.size, ...(obstacle === undefined ? {} : { obstacle }) };
}

async function obstacleIn(
  rendered: RenderedRelease,
  { manifest, parts }: { manifest: Manifest; parts: Prepared[] },
  options: UmbrellaOptions,
): Promise<string | undefined> {
  if (!fits(rendered.size)) return `it has ${formatSize(rendered.size)}`;
  // Helm runs these before it makes anything: what they may need of another service would never come.
  const hooks = rendered.hooks.filter(({ events }) => events.some((event) => /^pre-(in|up)/.test(event)));
  const early = manifest.packages.find(
    ({ service, dependsOn }) =>
      dependsOn.length > 0 &&
      hooks.some(({ path }) => path.startsWith(`${manifest.name}/charts/${service}/`)),
  );
  if (early !== undefined) {
    return `${early.service} has hooks that run before anything is installed, and depends on ${early.dependsOn.join(" and ")}`;
  }
  const together = partObjects(rendered.manifest);
  const limit = limiter(4);
  const renamed = await Promise.all(
    parts.map(async (one) => {
      const { service } = one.found;
      const own = objectsIn(await limit(() => renderPrepared(one, options)));
      const isAlone = ({ kind, name }: { kind: string; name: string }) =>
        [...own.keys()].some((key) => key.endsWith(`/${kind}/${name}`));
      const other = together.find((object) => object.service === service && !isAlone(object));
      return other === undefined
        ? []
        : [`${service} would have other names: ${other.kind} ${other.name}, after the release`];
    }),
  );
  return renamed.flat()[0];
}

/** How a manifest is installed. */
export interface Form {
  together: boolean;
  /** Why so, in words. */
  reason: string;
  /** Undefined where it was not looked at, because the form was clear without. */
  umbrella?: Umbrella;
}

/**
 * What the namespace has stays, so that no object gets a second owner; else one release where that can be and nothing else is
 * wanted. `there` are the namespace's releases. Throws `conflict` where it has one release, and another form is needed.
 */
export async function chooseForm(
  { there, perService }: { there: Release[]; perService: boolean },
  plan: () => Promise<Umbrella>,
): Promise<Form> {
  const shared = there.find(({ parts }) => parts.length > 0);
  if (shared === undefined && there.length > 0) {
    return { together: false, reason: `the namespace ${there[0]?.namespace} has it so` };
  }
  if (perService) {
    if (shared !== undefined) throw heldTogether(shared, "--per-service is for a namespace without it");
    return { together: false, reason: "--per-service was given" };
  }
  const umbrella = await plan();
  const { obstacle, size } = umbrella;
  if (shared !== undefined && obstacle !== undefined) throw heldTogether(shared, obstacle);
  return { together: obstacle === undefined, reason: obstacle ?? `it has ${formatSize(size)}`, umbrella };
}

function heldTogether({ namespace, release, stack }: Release, why: string): UserError {
  return new UserError(`the namespace ${namespace} has the one release ${release}: ${why}`, {
    code: "conflict",
    fix: `Install it into another namespace; or run \`kws stack remove ${stack}\` before, which also removes its data.`,
  });
}
