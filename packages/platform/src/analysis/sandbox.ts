/** What the embedded cluster's containers are made of, really made in a child process and gone with it. */
import { access, constants, mkdir, mkdtemp, rmdir } from "node:fs/promises";
import { userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import type { RuntimeName } from "../project/provider-names.ts";
import { runtimeProblem } from "../providers/embedded.ts";
import { type Check, faultFinding, faultOf, type Finding, ok } from "./finding.ts";
import { nearestFolder, textOf } from "./machine.ts";
import type { Subject } from "./subject.ts";

/** What runs the containers of the cluster that is meant; undefined for one that is not embedded. */
async function runtimeOf(subject: Subject): Promise<RuntimeName | undefined> {
  const status = await subject.status().catch(faultOf);
  return status instanceof UserError ? undefined : status.runtime;
}

const usesSandbox = async (subject: Subject) => (await runtimeOf(subject)) === "sandbox";

const namespaces: Check = {
  id: "namespaces",
  family: "machine",
  about:
    "for the embedded cluster: user, network, mount and process namespaces and a bridge are made in a child process; with the runtime docker the engine is asked",
  async run(subject) {
    const runtime = await runtimeOf(subject);
    if (runtime === undefined) return [];
    const problem = await runtimeProblem(runtime, subject.env);
    if (problem === undefined && runtime === "docker") return [ok("the Docker Engine can hold containers")];
    if (problem === undefined) return [ok("namespaces and a network bridge can be made")];
    const { fix, ...fault } = faultFinding(problem);
    return [{ ...fault, ...(fix === undefined ? {} : { fix: sentence(fix) }) }];
  },
};

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

const overlay: Check = {
  id: "overlay",
  family: "machine",
  about:
    "for the embedded cluster: an overlay is mounted where kws keeps its data, in a mount namespace that ends with it",
  async run(subject, signal) {
    if (!(await usesSandbox(subject))) return [];
    const folder = await nearestFolder(subject.locations.data);
    return [await overlayFinding(folder, subject.env, signal)];
  },
};

/** Mounts an overlay of folders below this one. */
export async function overlayFinding(
  folder: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Finding> {
  try {
    await using dir = await tempDir(".kws-analyze", folder);
    await Promise.all(["l", "u", "w", "m"].map((name) => mkdir(join(dir.path, name))));
    const rootless = process.getuid?.() !== 0;
    // Relative, because commas and colons of a path would end the options' values.
    const options = `lowerdir=l,upperdir=u,workdir=w${rootless ? ",userxattr" : ""}`;
    const user = rootless ? ["--user", "--map-root-user"] : [];
    const args = [...user, "--mount", "mount", "-t", "overlay", "overlay", "-o", options, "m"];
    const { exitCode, stderr } = await exec("unshare", args, { cwd: dir.path, env, signal });
    if (exitCode === 0) return { ...ok("an overlay can be mounted here"), where: folder };
    return {
      severity: "error",
      where: folder,
      message: `an overlay cannot be mounted here, and containers are made so: ${lastLines(stderr, 1)}`,
      fix: "Set KWS_HOME to a folder on a local disk (ext4, xfs, btrfs or tmpfs); in a container, on a volume.",
    };
  } catch (error) {
    if (!(error instanceof UserError) && !isErrno(error, "EACCES", "EPERM", "EROFS", "ENOSPC")) throw error;
    // Another check says why.
    return { severity: "info", where: folder, message: "an overlay could not be tried here" };
  }
}

const wayOut: Check = {
  id: "way-out",
  family: "machine",
  about: "for the embedded cluster: slirp4netns and /dev/net/tun, by which pods reach other machines",
  async run(subject) {
    if (!(await usesSandbox(subject))) return [];
    const found = await onPath("slirp4netns", subject.env);
    if (found === undefined) {
      return [
        {
          severity: "info",
          message:
            "slirp4netns is not installed: pods reach this machine and each other, and no other networks",
          fix: "Install slirp4netns where services need other networks.",
        },
      ];
    }
    if (await may("/dev/net/tun", constants.R_OK | constants.W_OK)) return [ok(`slirp4netns (${found})`)];
    return [
      {
        severity: "warning",
        message: "slirp4netns is installed, and /dev/net/tun may not be opened: pods reach no other networks",
        fix: "Load it with `sudo modprobe tun`; a container needs the device (`--device /dev/net/tun`).",
      },
    ];
  },
};

const networkPolicies: Check = {
  id: "network-policies",
  family: "machine",
  about: "for the embedded cluster: nft, by which NetworkPolicies are enforced",
  async run(subject) {
    if (subject.platform !== "linux" || !(await subject.isOn(["embedded"]))) return [];
    const found = await onPath("nft", subject.env);
    if (found !== undefined) return [ok(`NetworkPolicies are enforced by nft (${found})`)];
    return [
      {
        severity: "info",
        message: "nft is not installed: NetworkPolicies are kept and not enforced",
        fix: "Install nftables where services are to be kept apart as in production.",
      },
    ];
  },
};

const systemFolders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

async function onPath(name: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const folder of [...(env["PATH"] ?? "").split(delimiter), ...systemFolders]) {
    const path = join(folder, name);
    if (folder !== "" && (await may(path, constants.X_OK))) return path;
  }
  return undefined;
}

async function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

const cgroups: Check = {
  id: "cgroups",
  family: "machine",
  about:
    "for the embedded cluster: a cgroup is made and removed, by which limits of processor and memory are enforced",
  async run(subject) {
    if (!(await usesSandbox(subject))) return [];
    const root = "/sys/fs/cgroup";
    const unified = await may(join(root, "cgroup.controllers"), constants.R_OK);
    const own = await textOf(join(subject.proc, "self/cgroup"));
    const bases = (unified ? [""] : ["memory", "cpu"]).map((controller) =>
      join(root, controller, groupOf(own, controller)),
    );
    if ((await Promise.all(bases.map(groupCanBeMade))).every(Boolean))
      return [ok(`limits of processor and memory are enforced by cgroups, version ${unified ? 2 : 1}`)];
    return [
      {
        severity: "info",
        message: "this user may make no cgroups: limits of processor and memory in charts are not enforced",
      },
    ];
  },
};

/** This process's own group, which new ones are made in: cgroups(7). */
function groupOf(text: string, controller: string): string {
  const lines = text.split("\n").map((line) => /^\d+:([^:]*):(.*)$/.exec(line));
  return lines.find((line) => line?.[1]?.split(",").includes(controller))?.[2] ?? "";
}

async function groupCanBeMade(base: string): Promise<boolean> {
  try {
    await rmdir(await mkdtemp(join(base, "kws-analyze-")));
    return true;
  } catch (error) {
    if (isErrno(error, "EACCES", "EPERM", "EROFS", "ENOENT", "ENOSPC", "EBUSY")) return false;
    throw error;
  }
}

const subordinates: Check = {
  id: "subordinate-ids",
  family: "machine",
  about:
    "for an ordinary user: ranges in /etc/subuid and /etc/subgid, which rootless Docker and Podman need and kws does without",
  async run(subject) {
    if (process.getuid?.() === 0 || !(await usesSandbox(subject))) return [];
    const user = userInfo().username;
    const lines = await Promise.all(["/etc/subuid", "/etc/subgid"].map(textOf));
    if (lines.every((text) => text.split("\n").some((line) => line.startsWith(`${user}:`))))
      return [ok(`${user} has subordinate ids`)];
    return [
      {
        severity: "info",
        message: `${user} has no subordinate ids: containers' own users are all mapped to this one`,
        fix: `Only where another tool needs them: \`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user}\`.`,
      },
    ];
  },
};

export const sandboxChecks = [namespaces, overlay, wayOut, networkPolicies, cgroups, subordinates];
