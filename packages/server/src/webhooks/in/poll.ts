/** Watching a repository whose server sends nothing: what its refs are now, and what moved since they were last asked for. */
import { UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import { gitEnv, refuseHostile, safe } from "@kws/platform/project/git";
import { type PushEvent, refEvent, type Repository, type TagEvent } from "./event.ts";

export interface GitCredentials {
  user: string;
  password: string;
}

export interface PollOptions {
  env: NodeJS.ProcessEnv;
  timeoutMs: number;
  signal?: AbortSignal;
  credentials?: GitCredentials;
}

/** Commits of all branches and tags by ref; of an annotated tag the commit that it stands for. */
export type Refs = Record<string, string>;

/** Asks the remote with the real git. Throws a `UserError` without the credentials in it. */
export async function listRefs(url: string, options: PollOptions): Promise<Refs> {
  refuseHostile(url, "");
  const { env, timeoutMs, signal, credentials } = options;
  const args = [...safe, "ls-remote", "--quiet", "--", url, "refs/heads/*", "refs/tags/*"];
  const { exitCode, stdout, stderr } = await exec("git", args, {
    env: { ...gitEnv(env), ...(credentials === undefined ? {} : credentialEnv(url, credentials)) },
    timeoutMs,
    ...(signal === undefined ? {} : { signal }),
  });
  if (exitCode !== 0) {
    const shown = lastLines(stderr, 2).replaceAll(/:\/\/[^/@\s]+@/g, "://");
    throw new UserError(`git cannot list the branches of ${shownUrl(url)}: ${shown}`, {
      fix: "Check the repository's address and its credentials.",
    });
  }
  return parseRefs(stdout);
}

function shownUrl(url: string): string {
  return url.replace(/:\/\/[^/@\s]+@/, "://");
}

/**
 * A header for this host alone, in the environment of this git alone: arguments are seen by everybody on the machine, and files
 * stay. To other hosts, after a redirect, curl does not send it.
 */
function credentialEnv(url: string, { user, password }: GitCredentials): NodeJS.ProcessEnv {
  const parsed = URL.parse(url);
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw new UserError("user and password are for https:// addresses", {
      code: "config",
      fix: "Use a key of SSH for this address, or its https:// one.",
    });
  }
  const basic = Buffer.from(`${user}:${password}`).toString("base64");
  return {
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: `http.${parsed.origin}/.extraHeader`,
    GIT_CONFIG_VALUE_0: `Authorization: Basic ${basic}`,
  };
}

/** What `git ls-remote` prints; the commit of an annotated tag stands in a line of its own, with `^{}` at its end. */
export function parseRefs(output: string): Refs {
  const refs = new Map<string, string>();
  for (const line of output.split("\n")) {
    const [commit = "", ref = ""] = line.split("\t");
    if (/^[0-9a-f]{40,64}$/.test(commit) && ref.startsWith("refs/"))
      refs.set(ref.replace(/\^\{\}$/, ""), commit);
  }
  return Object.fromEntries(refs);
}

/** What happened between two answers of the remote. Who did it, git does not say. */
export function changes(repository: Repository, before: Refs, after: Refs): (PushEvent | TagEvent)[] {
  const refs = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return refs
    .filter((ref) => before[ref] !== after[ref])
    .map((ref) => refEvent({ repository, author: "git", ref, before: before[ref], after: after[ref] }))
    .filter((event) => event !== undefined);
}
