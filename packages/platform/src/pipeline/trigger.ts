/** What a run of the working tree is taken for: the branch and the tag that git has there, and what has changed. */
import { UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import type { GitSettings } from "../packages/revision.ts";
import { gitEnv, safe } from "../project/git.ts";
import type { ProjectService } from "../project/workspace.ts";
import type { PipelineEvent, Trigger } from "./when.ts";

export interface TriggerOptions extends GitSettings {
  /** `manual` unless given. */
  event?: PipelineEvent;
  /** Instead of what git says. */
  branch?: string;
  tag?: string;
  /** What has changed since this commit, branch or tag left the present one's history counts as changed; else everything does. */
  since?: string;
}

export async function readTrigger(
  service: ProjectService,
  options: TriggerOptions,
): Promise<{ trigger: Trigger; commit?: string }> {
  const git = async (...args: string[]) => {
    const result = await exec("git", [...safe, "-C", service.dir, ...args], {
      env: gitEnv(options.env),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    return { ...result, text: result.exitCode === 0 ? result.stdout.trim() : "" };
  };
  const [head, onBranch, onTag] = await Promise.all([
    git("rev-parse", "--verify", "--quiet", "HEAD"),
    git("symbolic-ref", "--quiet", "--short", "HEAD"),
    git("tag", "--points-at", "HEAD"),
  ]);
  const tag = options.tag ?? (options.branch === undefined ? onTag.text.split("\n")[0] : "");
  const branch = options.branch ?? (options.tag === undefined ? onBranch.text : "");
  const changed = options.since === undefined ? undefined : await changedSince(service, options.since, git);
  return {
    trigger: {
      event: options.event ?? "manual",
      ...(branch === "" ? {} : { branch }),
      ...(tag === undefined || tag === "" ? {} : { tag }),
      ...(changed === undefined ? {} : { changed }),
    },
    ...(head.text === "" ? {} : { commit: head.text }),
  };
}

type Git = (...args: string[]) => Promise<{ exitCode: number; stdout: string; stderr: string; text: string }>;

/** Paths below the service's folder, with what is not committed. */
async function changedSince(service: ProjectService, since: string, git: Git): Promise<string[]> {
  const base = await git("merge-base", "--end-of-options", since, "HEAD");
  if (base.exitCode !== 0) {
    throw new UserError(
      `nothing can be compared with "${since}": ${lastLines(base.stderr, 1) || "no common history"}`,
      {
        code: "usage",
        fix: "Name a commit, a branch or a tag that git has here.",
      },
    );
  }
  const [committed, untracked] = await Promise.all([
    git("diff", "--name-only", "--relative", "-z", base.text, "--", "."),
    git("ls-files", "-z", "--others", "--exclude-standard", "--", "."),
  ]);
  return [...new Set(`${committed.stdout}\0${untracked.stdout}`.split("\0"))]
    .filter((path) => path !== "")
    .toSorted();
}
