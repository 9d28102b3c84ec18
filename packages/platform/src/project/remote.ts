/** Which of a stack's services are used from another cluster: by kws.yaml, by one person's kws.local.yaml, and by flags. */
import { UserError } from "@kws/base/errors";
import type { LocalSettings } from "./local.ts";
import { suggest } from "./nearest.ts";
import type { Remote, Stack } from "./schema.ts";
import type { ProjectStack } from "./workspace.ts";
import type { YamlFile } from "./yaml-file.ts";

/** By stack. What kws.local.yaml says counts before kws.yaml, key by key; `services` and `except` are one question. */
export function remoteOf(
  file: YamlFile,
  stacks: Record<string, Stack>,
  local: LocalSettings,
): Record<string, Remote> {
  const mine = local.settings.stacks ?? {};
  for (const stack of Object.keys(mine)) {
    if (stacks[stack] !== undefined) continue;
    throw new UserError(`there is no stack "${stack}"`, {
      code: "config",
      at: local.file.at(["stacks", stack], true),
      fix: suggest(stack, Object.keys(stacks), "Add it under stacks in kws.yaml."),
    });
  }
  const found: Record<string, Remote> = {};
  for (const [stack, { remote: shared }] of Object.entries(stacks)) {
    const own = mine[stack]?.remote;
    refuseBoth(file, stack, shared);
    refuseBoth(local.file, stack, own);
    if (shared === undefined && own === undefined) continue;
    const { services, except, ...place } = shared ?? {};
    const chosen = own?.services !== undefined || own?.except !== undefined;
    found[stack] = {
      ...place,
      ...(chosen || services === undefined ? {} : { services }),
      ...(chosen || except === undefined ? {} : { except }),
      ...own,
    };
  }
  return found;
}

function refuseBoth(file: YamlFile, stack: string, remote: Remote | undefined): void {
  if (remote?.services === undefined || remote.except === undefined) return;
  throw new UserError(`the stack ${stack} names its remote services in two ways`, {
    code: "config",
    at: file.at(["stacks", stack, "remote", "except"], true),
    fix: "Keep `services` or `except`.",
  });
}

export interface RemoteChoice {
  /** Of `--remote`: these too. */
  remote: string[];
  /** Of `--local`, or because they were asked for by name: not these. */
  local: string[];
}

/** The stack's services that are used from elsewhere; `names` are all of the stack's. */
export function remoteServices(
  { name: stack, remote = {} }: ProjectStack,
  names: string[],
  choice: RemoteChoice,
): string[] {
  const { services = [], except } = remote;
  for (const name of [...services, ...(except ?? []), ...choice.remote, ...choice.local]) {
    if (names.includes(name)) continue;
    throw new UserError(`the stack ${stack} has no service "${name}"`, {
      code: "not-found",
      fix: suggest(name, names, "Add it to the stack's services, or leave it out of `remote`."),
    });
  }
  const rest = except === undefined ? [] : names.filter((name) => !except.includes(name));
  const all = [...services, ...rest, ...choice.remote].filter((name) => !choice.local.includes(name));
  return [...new Set(all)];
}
