/** The post-receive hook of a plain git repository: the script that git runs, and what that sends. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, UserError } from "@kws/base/errors";
import { run } from "@kws/base/exec";
import { makeFolder } from "@kws/base/folder";
import { gitEnv } from "@kws/platform/project/git";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { keyOf, signedHeaders } from "../standard-webhooks.ts";
import type { GitPush } from "./git.ts";
import { Name, Url } from "./payload.ts";

/** Where a repository's pushes are told, and with whose secret; a file beside the hook that its owner alone reads. */
export const HookTarget = Type.Object({
  /** Where the server takes the webhook's deliveries. */
  endpoint: Url,
  secret: Type.String(),
  repository: Type.Object({ name: Name, url: Url }),
});
export type HookTarget = Static<typeof HookTarget>;

const mark = "# Written by kws server hook install.";

/** Writes the hook into the repository; `command` is how this kws is started. Throws `conflict` where there is another hook. */
export async function installHook(
  repository: string,
  target: HookTarget,
  command: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ hook: string; config: string }> {
  keyOf(target.secret);
  const hooks = await hooksFolder(repository, env);
  await makeFolder(hooks);
  const hook = join(hooks, "post-receive");
  const existing = await readFile(hook, "utf8").catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return mark;
    throw error;
  });
  if (!existing.includes(mark)) {
    throw new UserError(`${hook} is a hook already`, {
      code: "conflict",
      fix: `Call \`kws server hook send ${join(hooks, configName)}\` from it with its own standard input, or remove it first.`,
    });
  }
  const config = join(hooks, configName);
  await replaceFile(config, `${JSON.stringify(target, undefined, 2)}\n`, { mode: 0o600 });
  await replaceFile(hook, script([...command, "server", "hook", "send", config]), { mode: 0o755 });
  return { hook, config };
}

const configName = "kws-hook.json";

/** Where git looks for them: a repository may keep its hooks elsewhere. */
async function hooksFolder(repository: string, env: NodeJS.ProcessEnv): Promise<string> {
  const args = ["-C", repository, "rev-parse", "--path-format=absolute", "--git-path", "hooks"];
  const { stdout } = await run("git", args, { env: gitEnv(env) });
  return stdout.trim();
}

/** A push that nobody could be told of has happened all the same: the hook complains, and never fails. */
function script(command: readonly string[]): string {
  return `#!/bin/sh\n${mark}\n${command.map(quoted).join(" ")} || echo "kws was not told of this push" >&2\nexit 0\n`;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** The target that a hook was installed with. */
export async function readTarget(config: string): Promise<HookTarget> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(config, "utf8"));
  } catch (error) {
    throw new UserError(`${config} cannot be read`, {
      code: "config",
      cause: error,
      fix: "Install the hook anew.",
    });
  }
  if (Value.Check(HookTarget, value)) return value;
  throw new UserError(`${config} is not what a hook was installed with`, {
    code: "config",
    fix: "Install the hook anew.",
  });
}

/** Lines of `before after ref`, as git writes them to the hook. */
export function readPush(target: HookTarget, author: string, input: string): GitPush {
  const refs = input
    .split("\n")
    .map((line) => line.split(" "))
    .filter((words) => words.length >= 3)
    .map(([before = "", after = "", ...ref]) => ({ ref: ref.join(" "), before, after }));
  return { repository: target.repository, author, refs };
}

export interface TellOptions {
  /** The delivery's id, and the time in milliseconds. */
  id: string;
  now: number;
  timeoutMs: number;
}

/** Sends a push to the server. */
export async function tell(target: HookTarget, push: GitPush, options: TellOptions): Promise<void> {
  const { id, now, timeoutMs } = options;
  const body = JSON.stringify(push);
  const headers = { "content-type": "application/json", ...signedHeaders(id, now, body, target.secret) };
  const { host } = new URL(target.endpoint);
  const signal = AbortSignal.timeout(timeoutMs);
  const sent = fetch(target.endpoint, { method: "POST", headers, body, signal, redirect: "error" });
  const response = await sent.catch((error: unknown) => {
    throw new UserError(`${host} cannot be told of the push`, {
      code: signal.aborted ? "timeout" : "failed",
      cause: error,
      fix: "Look whether the server runs; it learns of the commits with the next push.",
    });
  });
  await response.body?.cancel();
  if (response.ok) return;
  throw new UserError(`${host} answered ${response.status} to the push`, {
    fix:
      response.status === 403
        ? "Install the hook anew with the webhook's secret."
        : "Look at the server's log.",
  });
}
