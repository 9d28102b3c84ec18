/** What the commands on profiles share: a service's chart with its layers open, and how a value and its place are shown. */
import { relative } from "node:path";
import { type Chart, loadChart } from "@kws/platform/charts/chart";
import type { Origin } from "@kws/platform/charts/origins";
import { profileNames, unknownProfile } from "@kws/platform/charts/profiles";
import { redacted, redactor } from "@kws/platform/charts/redact";
import { loadServices } from "@kws/platform/project/services";
import { defaultProfile, type ProjectService } from "@kws/platform/project/workspace";
import { secretOpener } from "@kws/platform/secrets/open";
import type { Context } from "./context.ts";
import { printable } from "./style.ts";

export const profileOption = {
  type: "string",
  short: "p",
  value: "name",
  description: `the profile; \`${defaultProfile}\` unless given`,
  completes: "profiles",
} as const;

export const revealOption = { type: "boolean", description: "show the values of secrets" } as const;

export const serviceArgument = {
  name: "service",
  description: "the service",
  required: true,
  completes: "services",
} as const;

/** The workspace's services, or the one that is named; those in git with the pinned commit alone unless `history` is set. */
export async function projectServices(
  ctx: Context,
  name?: string,
  { history = false } = {},
): Promise<ProjectService[]> {
  const { childEnv, locations, signal } = ctx;
  const options = { cache: locations.cache, env: childEnv, signal, history };
  return loadServices(await ctx.project(), options, name === undefined ? undefined : [name]);
}

/**
 * The service's chart with each of the profiles. Throws for one that it does not have, but for the profile that stacks have by
 * themselves: as in a start, the chart's own values are all there is then.
 */
export async function openProfiles(ctx: Context, service: string, profiles: string[]): Promise<Chart[]> {
  const [found] = await projectServices(ctx, service);
  if (found === undefined) throw new Error("the service was found");
  const decrypt = secretOpener(ctx, ctx.signal);
  return Promise.all(
    profiles.map(async (profile) => {
      const chart = await loadChart(found, profile, decrypt);
      if (!chart.hasProfile && profile !== defaultProfile)
        throw unknownProfile(chart.dir, profile, await profileNames(chart.dir));
      return chart;
    }),
  );
}

/** `openProfiles` for one. */
export async function openProfile(ctx: Context, service: string, profile = defaultProfile): Promise<Chart> {
  const [chart] = await openProfiles(ctx, service, [profile]);
  if (chart === undefined) throw new Error("a profile was opened");
  return chart;
}

/** A value as it may be shown, and where it stands; for JSON. */
export interface Place {
  value: unknown;
  profile: string;
  kind: string;
  at: string;
}

/** Secrets are hidden unless they are to be revealed, and so is what equals one. */
export function shower({ layers }: Chart, reveal = false): (origin: Origin) => Place {
  const hide = redactor(layers);
  return ({ layer: { name, kind }, value, at }) => ({
    value: reveal ? value : kind === "secrets" ? redacted : hide.value(value),
    profile: name,
    kind,
    at,
  });
}

/** A value as a cell of a table. */
export function cell(value: unknown): string {
  const text = typeof value === "string" && !value.includes("\n") ? printable(value) : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

/** A place as it is easiest to read, and to open, from where kws was called. */
export function shortPlace(ctx: Context, at: string): string {
  const path = relative(ctx.cwd, at);
  return path.startsWith("..") ? at : path;
}
