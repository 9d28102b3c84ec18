/** A disk in memory by the programs of macOS: hdiutil(1), newfs_hfs(8) and mount(8). */
import { messageOf } from "@kws/base/errors";
import { run, type ExecOptions } from "@kws/base/exec";
import { SopsError } from "@kws/sops/errors";

type Options = Pick<ExecOptions, "env" | "signal">;

/** In sectors of 512 bytes: 64 MiB, which are taken as they are used. */
const size = 131_072;

/** The device, such as `/dev/disk4`; `hdiutil detach` ends it. */
export async function attachRamDisk(options: Options): Promise<string> {
  return orSay(async () => {
    const { stdout } = await run("hdiutil", ["attach", "-nomount", `ram://${size}`], options);
    const device = stdout.trim();
    if (/^\/dev\/disk\d+$/.test(device)) return device;
    throw new Error("hdiutil named no device");
  });
}

/** Formats the device for its owner alone, and mounts it where neither Finder nor Spotlight looks. */
export async function mountRamDisk(device: string, folder: string, options: Options): Promise<void> {
  await orSay(async () => {
    await run("newfs_hfs", ["-M", "700", device], options);
    await run("mount", ["-t", "hfs", "-o", "nobrowse,noatime", device, folder], options);
  });
}

async function orSay<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw new SopsError(
      "couldNotWriteOutputFile",
      `a disk in memory cannot be made, and the text must not reach another one: ${messageOf(error)}`,
      { fix: "Change single values with `kws secrets set`.", cause: error },
    );
  }
}
