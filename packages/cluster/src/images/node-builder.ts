/**
 * Builds an image of a Node service without a Dockerfile, as ko does for Go and Jib for Java: a base image, a layer with
 * the production dependencies, a layer with the service's own files. A layer changes only when its files do, and equal
 * files give an equal digest on every machine.
 */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { UserError, isErrno, messageOf } from "@kws/base/errors";
import { sha256 } from "@kws/oci/descriptor";
import { listContext, openDigests } from "./context.ts";
import type { ContextFile, FileDigests } from "./context.ts";
import { splitWords } from "./dockerfile/words.ts";
import { parseIgnore } from "./ignore.ts";
import type { LayerEntry } from "./layer.ts";
import type { Layer } from "@kws/oci/manifest";
import { dependencyClosure } from "./node-dependencies.ts";
import type { PlacedPackage } from "./node-dependencies.ts";
import { canonicalReference } from "@kws/oci/reference";
import type { LocalImageStore } from "./store.ts";

export interface BuildNodeOptions {
  /** The service's folder, with a package.json. */
  dir: string;
  store: LocalImageStore;
  /** Reference or digest of a stored base image, such as `ensureBaseImage` answers. */
  base: string;
  tags: string[];
  /** The file to run, relative to the folder; else what package.json says. */
  entry?: string;
  signal?: AbortSignal;
}

/** Never part of an image, whatever an ignore file says. */
const always = ["**/node_modules", "**/.git"];
/** Left out where the service has no .dockerignore: noise, and what may hold secrets. */
const byDefault = [
  "**/.DS_Store",
  "**/*.log",
  "**/.env",
  "**/.env.*",
  "**/.npmrc",
  "coverage",
  "Dockerfile*",
  ".dockerignore",
  ".gitignore",
  ".github",
  ".vscode",
  ".idea",
];
const epoch = "1970-01-01T00:00:00Z";

/** Throws a `UserError` with code `config` where package.json does not say what to run or a dependency is missing. */
export async function buildNode(options: BuildNodeOptions): Promise<{
  reference: string;
  digest: string;
  cached: boolean;
  steps: { instruction: string; cached: boolean; milliseconds: number }[];
}> {
  const { dir, store } = options;
  const base = await store.inspect(options.base);
  if (base === undefined) {
    throw new UserError(`the base image ${options.base} is not in the image store`, {
      code: "not-found",
    });
  }
  const command = await startCommand(dir, options.entry);
  const digests = await openDigests(store, `node ${dir}`);
  const steps: { instruction: string; cached: boolean; milliseconds: number }[] = [];
  const layers: Layer[] = [...base.layers];
  const history = [...(base.document.history ?? [])];
  const addStep = async (instruction: string, collect: () => Promise<Placed[]>) => {
    options.signal?.throwIfAborted();
    const started = performance.now();
    const { layer, cached } = await contentLayer(store, digests, await collect());
    if (layer !== undefined) {
      layers.push(layer);
      history.push({ created: epoch, created_by: `kws node builder: ${instruction}` });
    }
    const milliseconds = Math.round(performance.now() - started);
    steps.push({ instruction, cached, milliseconds });
  };
  await addStep("dependencies", async () => {
    const files: Placed[] = [];
    for (const found of await dependencyClosure(dir)) files.push(...(await packageFiles(found)));
    return files;
  });
  await addStep("source", async () => {
    const files = await listContext(dir, parseIgnore(await ignoreText(dir)));
    return files.map((file) => ({ path: `app/${file.path}`, file }));
  });
  await digests.save();
  const { config } = base.document;
  const { digest } = await store.addImage({
    config: {
      ...config,
      Env: [...(config.Env ?? []), "NODE_ENV=production"],
      WorkingDir: "/app",
      // A number, so that a Pod with runAsNonRoot can see that it is not root.
      User: "1000",
      Entrypoint: undefined,
      Cmd: command,
    },
    layers,
    history,
    references: options.tags,
  });
  const reference = options.tags[0] === undefined ? digest : canonicalReference(options.tags[0]);
  return { reference, digest, cached: steps.every((step) => step.cached), steps };
}

interface Placed {
  /** In the image. */
  path: string;
  file: Pick<ContextFile, "type" | "source" | "mode" | "target" | "stamp" | "mtimeMs">;
}

async function packageFiles({ source, path, link, workspace }: PlacedPackage): Promise<Placed[]> {
  const rules = workspace ? await ignoreText(source) : always.join("\n");
  const files = (await listContext(source, parseIgnore(rules))).map((file) => ({
    path: `app/${path}/${file.path}`,
    file,
  }));
  if (link === undefined) return files;
  const target = { type: "symlink" as const, source: "", mode: 0o777, stamp: "", mtimeMs: 0 };
  return [...files, { path: `app/${link.path}`, file: { ...target, target: link.target } }];
}

async function ignoreText(dir: string): Promise<string> {
  let own = byDefault.join("\n");
  try {
    own = await readFile(join(dir, ".dockerignore"), "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
  return `${own}\n${always.join("\n")}\n`;
}

/** The layer of the files, kept by their content. Modes are reduced to "executable or not", as Git does. */
async function contentLayer(
  store: LocalImageStore,
  digests: FileDigests,
  files: Placed[],
): Promise<{ layer: Layer | undefined; cached: boolean }> {
  if (files.length === 0) return { layer: undefined, cached: true };
  const parts: unknown[] = [];
  for (const { path, file } of files) {
    const content = file.type === "file" ? await digests.digest(file) : file.target;
    parts.push([path, file.type, (file.mode & 0o100) !== 0, content]);
  }
  const key = `node 1 ${sha256(JSON.stringify(parts))}`;
  const kept = (await store.recall(key)) as Layer | undefined;
  if (kept !== undefined && (await store.blobs.has(kept.descriptor.digest))) {
    return { layer: kept, cached: true };
  }
  const entries = files.map(({ path, file }): LayerEntry => {
    if (file.type === "directory") return { path, type: "directory" };
    if (file.type === "symlink") return { path, type: "symlink", target: file.target ?? "" };
    const mode = (file.mode & 0o100) === 0 ? 0o644 : 0o755;
    return { path, type: "file", mode, source: file.source };
  });
  const layer = await store.addLayer(entries);
  await store.remember(key, layer);
  return { layer, cached: false };
}

/** What the container runs: the entry given, a `start` script that only calls node, `main`, or index.js. */
async function startCommand(dir: string, entry: string | undefined): Promise<string[]> {
  if (entry !== undefined) return ["node", entry];
  const path = join(dir, "package.json");
  const manifest = await readPackage(path);
  const start = manifest.scripts?.["start"];
  if (start !== undefined && /^node\s/.test(start) && !/[&|;<>$`(){}*?\n]/.test(start)) {
    return splitWords(start, "\\");
  }
  if (start !== undefined) {
    throw new UserError(`the start script "${start}" is not a plain node command`, {
      code: "config",
      at: path,
      fix: 'write it as "node <file>", name the entry file, or write a Dockerfile',
    });
  }
  for (const main of [manifest.main, "index.js", "server.js"]) {
    if (main === undefined) continue;
    if (await isFile(join(dir, main))) return ["node", main];
  }
  throw new UserError("package.json does not say what to run", {
    code: "config",
    at: path,
    fix: 'add a start script such as "node src/server.js"',
  });
}

async function readPackage(path: string) {
  try {
    const value = JSON.parse(await readFile(path, "utf8"));
    return value as { scripts?: Record<string, string>; main?: string };
  } catch (error) {
    if (isErrno(error, "ENOENT")) {
      throw new UserError(`there is no ${path}`, {
        code: "config",
        fix: "build a folder with a package.json, or write a Dockerfile",
        cause: error,
      });
    }
    throw new UserError(`${path} is not JSON: ${messageOf(error)}`, { code: "config", at: path });
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}
