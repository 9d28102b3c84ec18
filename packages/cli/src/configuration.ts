/** What `kws config` works on: the files that make up a service's configuration with a profile, and the repository they are in. */
import { join } from "node:path";
import { chartFiles, chartFolder } from "@kws/platform/charts/chart";
import { profileChain, profileFiles, profileNames } from "@kws/platform/charts/profiles";
import type { Change } from "@kws/platform/config/changes";
import { openRepository, type Repository } from "@kws/platform/project/repository";
import { defaultProfile } from "@kws/platform/project/workspace";
import type { Context } from "./context.ts";
import { cell, projectServices } from "./profiles.ts";

export interface ConfigurationFiles {
  repository: Repository;
  profile: string;
  /** Below the repository's root: the chart's own values, then the files of each profile of the chain, there or not. */
  paths: string[];
}

/** As in a start, a chart that does not have the profile `local` has its own values alone. */
export async function configurationFiles(
  ctx: Context,
  service: string,
  profile = defaultProfile,
): Promise<ConfigurationFiles> {
  const [found] = await projectServices(ctx, service, { history: true });
  if (found === undefined) throw new Error("the service was found");
  const chart = await chartFolder(found);
  await chartFiles(chart);
  const isPlain = profile === defaultProfile && !(await profileNames(chart)).includes(profile);
  const chain = isPlain ? [] : await profileChain(chart, profile);
  const repository = await openRepository(chart, { env: ctx.childEnv, signal: ctx.signal });
  const files = chain.flatMap((name) => profileFiles.map((file) => join(chart, "profiles", name, file)));
  return {
    repository,
    profile,
    paths: [join(chart, "values.yaml"), ...files].map((file) => repository.pathOf(file)),
  };
}

/** A change as one cell of a table. */
export function changeCell({ kind, secret, from, to }: Change): string {
  if (secret) return `${kind} (secret)`;
  if (kind === "changed") return `${cell(from)} → ${cell(to)}`;
  return kind === "added" ? `added ${cell(to)}` : `removed ${cell(from)}`;
}
