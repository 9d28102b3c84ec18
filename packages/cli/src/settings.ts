/**
 * What stands in for options that neither a flag nor a variable gives: `defaults` in the workspace's kws.local.yaml, in its
 * kws.yaml, then in the user's own settings.
 */
import { UserError } from "@kws/base/errors";
import type { Project } from "@kws/platform/project/workspace";
import { type Command, globalOptions, type OptionSpec, type OptionValues } from "./command.ts";
import { convert } from "./parse.ts";

/** The workspace that a command is run in, read once, when it is first asked for. */
export interface Workspaces {
  /** The nearest one; throws where there is none. */
  project(): Promise<Project>;
  /** Like `project`, but undefined where there is none. */
  findProject(): Promise<Project | undefined>;
}

/** `file` is what `--file` names. */
export function openWorkspaces(cwd: string, file: string | undefined): Workspaces {
  let loaded: Promise<Project> | undefined;
  const load = async () => {
    const { findProjectFile, loadProject } = await import("@kws/platform/project/workspace");
    return loadProject(await findProjectFile(cwd, file));
  };
  const project = () => (loaded ??= load());
  const findProject = async () => {
    const { findProjectFile } = await import("@kws/platform/project/workspace");
    if (file === undefined) {
      const path = await findProjectFile(cwd).catch((error: unknown) => {
        if (error instanceof UserError && error.at === undefined) return undefined;
        throw error;
      });
      if (path === undefined) return undefined;
    }
    return project();
  };
  return { project, findProject };
}

type Values = OptionValues<Record<string, OptionSpec>>;

/** The options with the defaults filled in. `configDir` is the folder of the user's own settings. */
export async function withDefaults(
  command: Command,
  given: Values,
  workspaces: Workspaces,
  configDir: string,
): Promise<Values> {
  const { loadUserConfig } = await import("@kws/platform/project/workspace");
  const [workspace, user] = await Promise.all([
    readable(workspaces.findProject()),
    readable(loadUserConfig(configDir)),
  ]);
  const specs: Record<string, OptionSpec> = { ...command.options, ...globalOptions };
  const values: Record<string, unknown> = { ...given };
  for (const [name, value] of Object.entries({
    ...user?.defaults,
    ...workspace?.workspace.defaults,
    ...workspace?.local.settings.defaults,
  })) {
    const spec = specs[name];
    if (spec === undefined) continue;
    values[name] ??= convert(name, spec, typeof value === "boolean" ? value : String(value));
  }
  return values as Values;
}

/** A file with a fault is told of by the commands that cannot do without it. */
async function readable<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}
