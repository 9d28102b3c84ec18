/** Whether changes of files are noticed: the kernel's limits, and a file that is really written. */
import { watch } from "node:fs";
import { readdir, readlink, rm, mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "@kws/base/errors";
import { ignoreRules } from "../dev/sync/ignore.ts";
import { scan } from "../dev/sync/scan.ts";
import { type Check, type Finding, ok } from "./finding.ts";
import { textOf } from "./machine.ts";
import type { Subject } from "./subject.ts";

/** Half of them are left to editors and others. */
const share = 0.5;

const limits: Check = {
  id: "inotify-limits",
  family: "machine",
  about:
    "inotify's limits (Linux) against what is in use and what watching all source folders of the workspace takes: one watch each",
  async run(subject) {
    const { proc, platform } = subject;
    const [watches, instances] = await Promise.all(
      ["max_user_watches", "max_user_instances"].map(async (name) => {
        const text = await textOf(join(proc, "sys/fs/inotify", name));
        return text.trim() === "" ? undefined : Number(text);
      }),
    );
    if (platform !== "linux" || watches === undefined || instances === undefined) return [];
    const [used, folders] = await Promise.all([inUse(proc), sourceFolders(subject)]);
    const free = watches - used.watches;
    const findings: Finding[] = [];
    if (folders > free || folders > watches * share) {
      const wanted = 2 ** Math.ceil(Math.log2(Math.max(folders * 4, 524_288)));
      findings.push({
        severity: folders > free ? "error" : "warning",
        message: `the workspace has ${folders} source folders, one watch each, and ${free} of ${watches} watches are free`,
        fix: `Raise the limit: \`sudo sysctl fs.inotify.max_user_watches=${wanted}\`; to keep it, write that line to a file in /etc/sysctl.d.`,
      });
    }
    if (instances - used.instances < 8) {
      findings.push({
        severity: instances <= used.instances ? "error" : "warning",
        message: `${used.instances} of ${instances} inotify instances are in use: programs that watch files, in pods too, cannot start`,
        fix: "Raise the limit: `sudo sysctl fs.inotify.max_user_instances=512`; to keep it, write that line to a file in /etc/sysctl.d.",
      });
    }
    if (findings.length > 0) return findings;
    return [
      ok(
        `${folders} source folders; ${free} of ${watches} watches and ${instances - used.instances} of ${instances} instances are free`,
      ),
    ];
  },
};

/** What processes have that this user may look into, which are those that count. */
async function inUse(proc: string): Promise<{ watches: number; instances: number }> {
  const used = { watches: 0, instances: 0 };
  const pids = (await listing(proc)).filter((name) => /^\d+$/.test(name));
  await Promise.all(
    pids.map(async (pid) => {
      for (const fd of await listing(join(proc, pid, "fd"))) {
        const target = await readlink(join(proc, pid, "fd", fd)).catch(unseen);
        if (target !== "anon_inode:inotify") continue;
        used.instances++;
        used.watches += (await textOf(join(proc, pid, "fdinfo", fd))).split("\ninotify ").length - 1;
      }
    }),
  );
  return used;
}

async function listing(path: string): Promise<string[]> {
  return (await readdir(path).catch(unseen)) ?? [];
}

/** Processes end, and those of others are their own. */
function unseen(error: unknown): undefined {
  if (!isErrno(error, "ENOENT", "EACCES", "EPERM", "ESRCH", "ENOTDIR", "EINVAL")) throw error;
}

/** The folders of all services' sources that watching does not leave out. */
async function sourceFolders(subject: Subject): Promise<number> {
  let count = 0;
  for (const { dir, config } of await subject.services()) {
    const rules = await ignoreRules(dir, config.dev?.ignore ?? []);
    for await (const [, { entry }] of scan(dir, rules, "", {})) if (entry.kind === "folder") count++;
    count++;
  }
  return count;
}

const eventTimeoutMs = 2000;
/** Polling file systems take a second or more; the kernel takes a millisecond. */
const slowMs = 500;

const events: Check = {
  id: "file-events",
  family: "machine",
  about:
    "a file is written in the workspace's folder, and its event is awaited for 2 s: Windows drives in WSL and network drives send none",
  async run(subject, signal) {
    const project = await subject.project();
    if (project === undefined) return [];
    return [await eventFinding(project.root, signal)];
  },
};

/** Writes a file below the folder, in a folder of its own that is removed. */
export async function eventFinding(root: string, signal: AbortSignal): Promise<Finding> {
  let folder: string;
  try {
    folder = await mkdtemp(join(root, ".kws-analyze-"));
  } catch (error) {
    if (!isErrno(error, "EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT")) throw error;
    return {
      severity: "warning",
      where: root,
      message: `nothing can be written here (${String(error.code)}): \`kws init\` and dev mode need that`,
      fix: "Correct the folder's permissions.",
    };
  }
  try {
    const took = await eventTime(folder, signal);
    if (took === undefined) {
      return {
        severity: "error",
        where: root,
        message: `a file was written and no event came within ${eventTimeoutMs / 1000} s: \`kws service up\` will not see changes`,
        fix: "Move the workspace to a local disk; in WSL below your home in Linux, not under /mnt.",
      };
    }
    const said = `a file was written and its event came after ${took.toFixed(took < 10 ? 1 : 0)} ms`;
    if (took < slowMs) return { ...ok(said), where: root };
    return {
      severity: "warning",
      where: root,
      message: `${said}, which is slow`,
      fix: "Move the workspace to a local disk.",
    };
  } catch (error) {
    if (!isErrno(error, "ENOSPC", "EMFILE")) throw error;
    return {
      severity: "error",
      where: root,
      message: `the folder cannot be watched: the limit of inotify ${error.code === "EMFILE" ? "instances" : "watches"} is reached`,
      fix: `Raise it: \`sudo sysctl fs.inotify.max_user_${error.code === "EMFILE" ? "instances=512" : "watches=524288"}\`.`,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Milliseconds from the write to the event; undefined where there is none. */
async function eventTime(folder: string, signal: AbortSignal): Promise<number | undefined> {
  const heard = Promise.withResolvers<number | undefined>();
  let began = 0;
  const watcher = watch(folder, (_event, name) => {
    if (name === "written") heard.resolve(performance.now() - began);
  });
  watcher.on("error", heard.reject);
  const timer = setTimeout(() => heard.resolve(undefined), eventTimeoutMs);
  const onAbort = () => heard.resolve(undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    began = performance.now();
    await writeFile(join(folder, "written"), "");
    return await heard.promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    watcher.close();
  }
}

export const fileChecks = [limits, events];
