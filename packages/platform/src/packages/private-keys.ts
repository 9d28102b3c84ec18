/** Private keys must not travel inside a package: it is as public as the registry that it ends in. */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { privateKeys } from "../secrets/scan.ts";
import { readArchive } from "./archive.ts";
import type { ChartSource } from "./source.ts";

/** An archive may be made to hold itself. */
const deepest = 5;

/**
 * Throws `config` with the place of the first one. Archives of charts that this one depends on are looked into, and refused
 * where they are hostile.
 */
export async function refusePrivateKeys(
  { dir, files }: Pick<ChartSource, "dir" | "files">,
  depth = 0,
): Promise<void> {
  for (const [path, content] of files) {
    const file = join(dir, path);
    if (/(^|\/)charts\/[^/]+\.tgz$/.test(path)) {
      if (depth === deepest) {
        throw new UserError(`${file}: charts are nested too deeply`, { code: "config", at: dir });
      }
      await refusePrivateKeys({ dir: file, files: await readArchive(content, file) }, depth + 1);
    } else {
      const [found] = privateKeys(file, Buffer.from(content).toString("latin1"));
      if (found === undefined) continue;
      throw new UserError(`${file} holds a private key`, {
        code: "config",
        at: found.at,
        fix: "Take it out of the chart and, since it is in the repository, replace it by a new one.",
      });
    }
  }
}
