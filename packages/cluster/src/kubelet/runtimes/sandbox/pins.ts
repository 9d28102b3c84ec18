/**
 * Mount sources that containers may change while they are mounted: each is mounted first, from an open descriptor, at a
 * place that only the agent knows. New mount namespaces take that along, after which it can go.
 */
import { closeSync, fstatSync, mkdirSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "@kws/base/errors";
import { ContainerStartError, type Mount } from "../../runtime.ts";
import { openBelow } from "../../subpath.ts";
import { runTool } from "./commands.ts";

export interface Pins {
  /** The mounts, with the sources that are safe to mount by name. */
  mounts: Mount[];
  release(): Promise<void>;
}

/** `folder` is the container's own, on the agent's tmpfs. Throws `ContainerStartError` for a source that has changed. */
export async function pinSources(folder: string, mounts: Mount[]): Promise<Pins> {
  const pinned: { path: string; isFolder: boolean }[] = [];
  const release = async () => {
    if (pinned.length === 0) return;
    await runTool("umount", ["-n", "-l", ...pinned.map(({ path }) => path)]);
    // Never recursively: what is still mounted is somebody's data.
    for (const { path, isFolder } of pinned.splice(0)) (isFolder ? rmdirSync : unlinkSync)(path);
    rmdirSync(folder);
  };
  const pin = async (mount: Mount): Promise<Mount> => {
    if (mount.type !== "bind" || mount.within === undefined) return mount;
    const fd = openBelow(mount.within, mount.source, "refuse");
    try {
      const path = join(folder, String(pinned.length));
      mkdirSync(folder, { recursive: true });
      const isFolder = fstatSync(fd).isDirectory();
      if (isFolder) mkdirSync(path);
      else writeFileSync(path, "");
      await runTool("mount", ["-n", "--no-canonicalize", "--rbind", "/proc/self/fd/3", path], { fd });
      pinned.push({ path, isFolder });
      return { ...mount, source: path };
    } finally {
      closeSync(fd);
    }
  };
  const safe: Mount[] = [];
  try {
    for (const mount of mounts) safe.push(await pin(mount));
  } catch (error) {
    await release();
    throw new ContainerStartError("CreateContainerError", `cannot mount a subPath: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return { mounts: safe, release };
}
