/** Checks of this machine's programs and room: what kws runs, and where it keeps things. */
import { existsSync } from "node:fs";
import { access, mkdir, readFile, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { exec } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { detectProviders } from "../providers/detect.ts";
import { locateTool } from "../tools/locate.ts";
import { type Check, faultFinding, type Finding, ok, faultOf } from "./finding.ts";
import type { Subject } from "./subject.ts";

const gigabyte = 2 ** 30;
const megabyte = 2 ** 20;

const node: Check = {
  id: "node",
  family: "machine",
  about: "the version of the Node that runs kws: 24 or newer runs its TypeScript",
  async run() {
    const version = process.versions.node;
    if (Number(version.split(".")[0]) >= 24) return [ok(`Node ${version}`)];
    return [{ severity: "error", message: `Node ${version} is too old`, fix: "Install Node 24 or newer." }];
  },
};

const tools: Check = {
  id: "tools",
  family: "machine",
  about: "helm, kubectl and git are found and tell a version that is new enough",
  async run({ env, locations }, signal) {
    const own = (["helm", "kubectl"] as const).map(async (name) => {
      const { version, path } = await locateTool(name, { env, cache: locations.cache, signal });
      return ok(`${name} ${version} (${path})`);
    });
    return Promise.all(
      [...own, gitVersion(env, signal)].map((one) =>
        one.catch((error: unknown) => faultFinding(faultOf(error))),
      ),
    );
  },
};

async function gitVersion(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<Finding> {
  try {
    const { stdout } = await exec("git", ["--version"], { env, signal });
    return ok(stdout.trim());
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== "tool-missing") throw error;
    return {
      severity: "warning",
      message: "git is not installed: packages get their versions from it, and services may live in it",
      fix: "Install git.",
    };
  }
}

const providers: Check = {
  id: "providers",
  family: "machine",
  about: "which of the tools that give clusters are installed, and whether they answer",
  async run({ env, home, locations }, signal) {
    const found = await detectProviders({ data: locations.data, env, home, signal });
    return found
      .filter(({ installed }) => installed)
      .map(({ provider, version, clusters, problem }): Finding => {
        const name = version === undefined ? provider : `${provider} ${version}`;
        if (problem !== undefined) return { severity: "warning", message: `${name}: ${problem}` };
        const count = clusters.length === 1 ? "1 cluster" : `${clusters.length} clusters`;
        return ok(`${name}, ${count}`);
      });
  },
};

/** Those whose nodes are containers or machines of Docker. */
const onDocker = ["docker-desktop", "k3d", "kind", "minikube"] as const;

const containerRuntime: Check = {
  id: "container-runtime",
  family: "machine",
  about: "a Docker Engine answers; told as an error only where the provider needs one",
  async run(subject, signal) {
    const needed = await subject.isOn(onDocker);
    const severity = needed ? "error" : "info";
    const rest = needed ? "the workspace's provider needs it" : "the workspace's provider does without it";
    const fix = needed ? { fix: "Install Docker and start it, or choose another `cluster.provider`." } : {};
    try {
      const args = ["version", "--format", "{{.Server.Version}}"];
      const { exitCode, stdout } = await exec("docker", args, { env: subject.env, signal });
      if (exitCode === 0) return [ok(`Docker Engine ${stdout.trim()}`)];
      return [{ severity, message: `Docker is installed, and its engine does not answer; ${rest}`, ...fix }];
    } catch (error) {
      if (!(error instanceof UserError) || error.code !== "tool-missing") throw error;
      return [{ severity, message: `there is no Docker; ${rest}`, ...fix }];
    }
  },
};

/** The nearest folder that exists. */
export async function nearestFolder(path: string): Promise<string> {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      await access(folder);
      return folder;
    } catch (error) {
      if (!isErrno(error, "ENOENT", "ENOTDIR", "EACCES") || dirname(folder) === folder) throw error;
    }
  }
}

const folders: Check = {
  id: "folders",
  family: "machine",
  about:
    "the folders for data, cache and settings can be written: a folder is made in each, and removed again",
  async run({ locations }) {
    const wanted = Object.values(locations) as string[];
    const closed = (await Promise.all(wanted.map(closedFinding))).flat();
    if (closed.length > 0) return closed;
    const missing = wanted.filter((path) => !existsSync(path));
    if (missing.length === 0) return [ok(`${wanted.join(", ")} can be written`)];
    return [
      {
        severity: "info",
        message: `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not there yet, and can be made`,
        fix: "Nothing need be done: what needs one makes it. `kws analyze --fix` makes them now.",
        repair: {
          done: `made ${missing.join(", ")}`,
          async apply() {
            for (const path of missing) await mkdir(path, { recursive: true, mode: 0o700 });
          },
        },
      },
    ];
  },
};

/** Nothing for a folder that can be written, or made. */
async function closedFinding(path: string): Promise<Finding[]> {
  const folder = await nearestFolder(path);
  try {
    await using _made = await tempDir(".kws-analyze", folder);
    return [];
  } catch (error) {
    if (!isErrno(error, "EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "ENOTDIR", "ENOENT")) throw error;
    return [
      {
        severity: "error",
        where: path,
        message: `${folder} cannot be written (${String(error.code)})`,
        fix: "Correct its permissions, or set KWS_HOME to a folder of your own.",
      },
    ];
  }
}

/** For programs (130 MB), a base image (100 MB) and the objects of one cluster; below that, a start fails. */
const leastDisk = 0.5 * gigabyte;
/** A few services' images and their layers while they are built. */
const enoughDisk = 5 * gigabyte;

/** What `statfs` tells, for thresholds that no test's disk can be brought to. */
export interface Room {
  bytes: number;
  files: { all: number; free: number };
}

export function diskFinding(folder: string, { bytes, files }: Room): Finding {
  const free = `${(bytes / gigabyte).toFixed(1)} GB free where ${folder} is`;
  const fix =
    "Free some: `kws cluster reset NAME` and `kws image remove NAME`, or set KWS_HOME to a folder on another disk.";
  if (bytes < leastDisk) return { severity: "error", message: `${free}: too little for a cluster`, fix };
  // File systems that make them as they are needed tell none.
  if (files.all > 0 && files.free < 50_000) {
    return { severity: "warning", message: `only ${files.free} more files fit where ${folder} is`, fix };
  }
  if (bytes < enoughDisk) return { severity: "warning", message: `${free}: little for images`, fix };
  return ok(free);
}

const disk: Check = {
  id: "disk",
  family: "machine",
  about: "free space and files where kws keeps its data: 0.5 GB for a cluster alone, 5 GB with images",
  async run({ locations }) {
    const folder = await nearestFolder(locations.data);
    const { bavail, bsize, files, ffree } = await statfs(folder);
    return [diskFinding(folder, { bytes: bavail * bsize, files: { all: files, free: ffree } })];
  },
};

const memory: Check = {
  id: "memory",
  family: "machine",
  about: "memory that is available, also to this container: 256 MB for a cluster alone, 1 GB with services",
  async run({ proc }) {
    const kernels = /^MemAvailable:\s+(\d+) kB$/m.exec(await textOf(`${proc}/meminfo`))?.[1];
    const available = kernels === undefined ? process.availableMemory() : Number(kernels) * 1024;
    const bytes = proc === "/proc" ? Math.min(available, process.availableMemory()) : available;
    const said = `${Math.round(bytes / megabyte)} MB of memory are available`;
    const fix = "End what needs much, such as `kws cluster stop NAME`, or give the machine more.";
    if (bytes < 256 * megabyte)
      return [{ severity: "error", message: `${said}: too little for a cluster`, fix }];
    if (bytes < gigabyte)
      return [{ severity: "warning", message: `${said}: little for several services`, fix }];
    return [ok(said)];
  },
};

/** Empty where there is no such file. */
export async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT", "EACCES", "ENOTDIR", "ESRCH", "EPERM")) return "";
    throw error;
  }
}

const proxies: Check = {
  id: "proxies",
  family: "machine",
  about: "where a proxy is set, names of this machine are not sent to it",
  async run({ env }: Subject) {
    const set = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].filter((name) => env[name]);
    if (set.length === 0) return [];
    const exempt = (env["NO_PROXY"] ?? env["no_proxy"] ?? "").split(/[,\s]+/);
    const lacking = ["localhost", "127.0.0.1", ".localhost"].filter(
      (name) => !exempt.some((one) => [name, "*", name.replace(/^\./, "")].includes(one)),
    );
    if (lacking.length === 0) return [ok(`${set.join(", ")} are set, and not for this machine`)];
    return [
      {
        severity: "warning",
        message: `${set.join(", ")} ${set.length === 1 ? "is" : "are"} set, and NO_PROXY lacks ${lacking.join(", ")}: programs may ask the proxy for services of this machine`,
        fix: `Add to NO_PROXY: ${lacking.join(",")}.`,
      },
    ];
  },
};

export const machineChecks = [node, tools, providers, containerRuntime, folders, disk, memory, proxies];
