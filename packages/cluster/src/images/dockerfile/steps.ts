/** The instructions that make layers: WORKDIR, COPY, ADD and RUN, each kept under a key that says all that decides it. */
import { mkdir } from "node:fs/promises";
import { join, posix } from "node:path";
import { UserError } from "@kws/base/errors";
import { sha256 } from "@kws/oci/descriptor";
import type { Mount } from "../../kubelet/runtime.ts";
import type { LayerEntry } from "../layer.ts";
import type { Layer } from "@kws/oci/manifest";
import { hexOf } from "@kws/oci/descriptor";
import { locate, parentEntries, resolveInside } from "../rootfs.ts";
import { removeTree } from "../unpack.ts";
import { resolveUser } from "../users.ts";
import type { BuildContext, StageState } from "./build.ts";
import {
  contextSources,
  digestSources,
  extractArchives,
  layerSources,
  namesDirectory,
  placeSources,
} from "./copy.ts";
import type { Source } from "./copy.ts";
import { syntaxError } from "./parse.ts";
import type { Instruction } from "./parse.ts";
import { captureUpper, runFolders } from "./run.ts";
import { commandOf, envRecord, placed } from "./settings.ts";
import { expandWord, splitWords } from "./words.ts";

export interface Step {
  layer: Layer | undefined;
  cached: boolean;
}

const unmade: Step = { layer: undefined, cached: true };

/** The kept layer for the key, or one made now. `undefined` in the place of a layer means that nothing changed. */
async function cachedLayer(
  build: BuildContext,
  state: StageState,
  parts: unknown,
  make: (below: string[], folders: string[]) => Promise<LayerEntry[]>,
): Promise<Step> {
  if (build.dry) return unmade;
  const key = `step 1 ${JSON.stringify([state.layers.map((layer) => layer.diffId), parts])}`;
  const kept = build.noCache ? undefined : await build.store.recall(key);
  if (isKept(kept)) {
    if (kept.layer === null) return { layer: undefined, cached: true };
    if (await build.store.blobs.has(kept.layer.descriptor.digest)) {
      return { layer: kept.layer, cached: true };
    }
  }
  /** Temporary ones that the entries' content lies in. */
  const folders: string[] = [];
  try {
    const entries = await make(await build.store.unpack(state.layers), folders);
    const layer = entries.length === 0 ? undefined : await build.store.addLayer(entries);
    await build.store.remember(key, { layer: layer ?? null });
    return { layer, cached: false };
  } finally {
    for (const folder of folders) await removeTree(folder);
  }
}

function isKept(value: unknown): value is { layer: Layer | null } {
  return typeof value === "object" && value !== null && "layer" in value;
}

export async function workdir(
  build: BuildContext,
  state: StageState,
  instruction: Instruction,
): Promise<Step> {
  const written = placed(instruction, () => expandWord(instruction.text, build.escape, state.lookup));
  const path = posix.resolve("/", state.config.WorkingDir ?? "/", written);
  state.config = { ...state.config, WorkingDir: path };
  return cachedLayer(build, state, ["WORKDIR", path], async (below) => {
    if ((await locate(below, path))?.stats.isDirectory() === true) return [];
    const { path: real } = await resolveInside(below, path);
    return parentEntries(below, real, { uid: 0, gid: 0 });
  });
}

export async function copy(build: BuildContext, state: StageState, instruction: Instruction): Promise<Step> {
  const { at, keyword } = instruction;
  const flags = readFlags(instruction, ["from", "chown", "chmod", "link"], build, state);
  const words = placed(instruction, () =>
    instruction.json === undefined
      ? splitWords(instruction.text, build.escape, state.lookup)
      : instruction.json.map((word) => expandWord(word, build.escape, state.lookup)),
  );
  const destination = words.pop();
  if (destination === undefined || words.length === 0) {
    throw syntaxError(at, `${keyword} needs a source and a destination`);
  }
  const chmod = flags.get("chmod");
  if (chmod !== undefined && !/^[0-7]{3,4}$/.test(chmod)) {
    throw syntaxError(at, `--chmod takes an octal mode, not "${chmod}"`, "write it as 0755");
  }
  const from = flags.get("from");
  const sources: Source[] = [];
  for (const word of words) {
    const heredoc = instruction.heredocs.find(({ name }) => new RegExp(`^<<-?${name}$`).test(word));
    if (heredoc !== undefined) {
      const content = heredoc.expand
        ? expandHeredoc(heredoc.content, state, build.escape, instruction)
        : heredoc.content;
      const file = { path: "", type: "file" as const, mode: 0o644, content: Buffer.from(content) };
      sources.push({ name: heredoc.name, directory: false, files: [file] });
    } else if (/^(?:https?|ftp|git|ssh):\/\/|^git@/.test(word)) {
      throw syntaxError(
        at,
        `${keyword} cannot fetch ${word}: builds read only the build context`,
        "download the file into the context, or fetch it in a RUN",
      );
    } else if (from === undefined) {
      const files = await build.files();
      if (files !== undefined) sources.push(...contextSources(files, word, at));
    } else {
      const layers = await build.layersOf(from, at);
      if (layers !== undefined) sources.push(...(await layerSources(layers, word, at)));
    }
  }
  if (sources.length > 1 && !namesDirectory(destination)) {
    throw syntaxError(at, `several files cannot be copied to "${destination}"`, "end the destination with /");
  }
  if (build.dry) return unmade;
  const digest = await digestSources(sources, await build.digests());
  const parts = [keyword, digest, destination, state.config.WorkingDir, flags.get("chown"), chmod];
  return cachedLayer(build, state, parts, async (layers, folders) =>
    placeSources(keyword === "ADD" ? await extractArchives(build.store, sources, folders, at) : sources, {
      destination,
      workingDir: state.config.WorkingDir ?? "/",
      layers,
      chown: flags.get("chown"),
      chmod: chmod === undefined ? undefined : Number.parseInt(chmod, 8),
      at,
    }),
  );
}

function expandHeredoc(content: string, state: StageState, escape: string, instruction: Instruction): string {
  // Quotes in a document are text, so they are kept from the word reader.
  const quoted = content.replaceAll(/["']/g, (quote) => `${escape}${quote}`);
  return placed(instruction, () => expandWord(quoted, escape, state.lookup));
}

function readFlags(
  instruction: Instruction,
  known: string[],
  build: BuildContext,
  state: StageState,
): Map<string, string> {
  const flags = new Map<string, string>();
  for (const { name, value } of instruction.flags) {
    if (!known.includes(name)) {
      throw syntaxError(instruction.at, `${instruction.keyword} --${name} is not supported`);
    }
    const expanded = placed(instruction, () => expandWord(value, build.escape, state.lookup));
    flags.set(name, expanded);
  }
  return flags;
}

const outputLines = 20;

export async function run(build: BuildContext, state: StageState, instruction: Instruction): Promise<Step> {
  const { config } = state;
  const argv = runArguments(instruction, state);
  const env = { ...state.args, ...envRecord(config.Env) };
  const caches = cacheMounts(instruction, build, state);
  const network = instruction.flags.find(({ name }) => name === "network")?.value;
  const cwd = config.WorkingDir ?? "/";
  const parts = ["RUN", argv, env, cwd, config.User, caches, network];
  return cachedLayer(build, state, parts, async (layers, folders) => {
    if (build.sandbox === undefined) {
      throw new UserError("RUN needs a sandbox, and this build was started without one", {
        at: instruction.at,
        code: "tool-missing",
      });
    }
    const user = await resolveUser(layers, config.User ?? "");
    const base = await build.store.blobs.temporary();
    folders.push(base);
    const tmpDir = join(build.store.dir, "run");
    const { upperDir } = await runFolders(base);
    await mkdir(tmpDir, { recursive: true });
    const last = lastLines();
    const mounts = await Promise.all(
      caches.map(async ({ id, target }): Promise<Mount> => {
        const source = join(build.store.dir, "cache-mounts", hexOf(sha256(id)));
        await mkdir(source, { recursive: true });
        return { type: "bind", source, target, readOnly: false };
      }),
    );
    const code = await build.sandbox({
      layers,
      upperDir,
      argv,
      env: { HOME: user.home, ...build.proxies, ...env },
      cwd,
      user,
      network: network === "none" ? "none" : "host",
      mounts,
      onOutput: (chunk) => {
        last.add(chunk);
        build.onOutput(state, instruction, chunk);
      },
      tmpDir,
      ...(build.signal === undefined ? {} : { signal: build.signal }),
    });
    if (code !== 0) throw runFailed(instruction, code, last.text());
    return await captureUpper(upperDir, layers);
  });
}

function runFailed(instruction: Instruction, code: number, output: string): UserError {
  const said = output === "" ? "it printed nothing" : `its last output:\n${output}`;
  return new UserError(`RUN ${instruction.text} ended with exit code ${code}; ${said}`, {
    code: "failed",
    at: instruction.at,
    fix: "correct the command; steps before it are kept and will not run again",
  });
}

function runArguments(instruction: Instruction, state: StageState): string[] {
  const [document] = instruction.heredocs;
  if (instruction.json !== undefined || document === undefined) {
    return commandOf(instruction, state.config);
  }
  const alone = /^<<-?["']?\w+["']?$/.test(instruction.text);
  // A document alone is the script; behind a command it is the shell's to read.
  const script = alone
    ? document.content
    : [instruction.text, ...instruction.heredocs.map(({ name, content }) => `${content}${name}`), ""].join(
        "\n",
      );
  return commandOf({ ...instruction, text: script }, state.config);
}

function cacheMounts(instruction: Instruction, build: BuildContext, state: StageState) {
  const caches: { id: string; target: string }[] = [];
  for (const { name, value } of instruction.flags) {
    if (name === "network" && ["default", "none", "host"].includes(value)) continue;
    if (name !== "mount") {
      throw syntaxError(instruction.at, `RUN --${name} is not supported`);
    }
    const written = placed(instruction, () => expandWord(value, build.escape, state.lookup));
    const options = new Map(
      written.split(",").map((part): [string, string] => {
        const cut = part.indexOf("=");
        return cut === -1 ? [part, ""] : [part.slice(0, cut), part.slice(cut + 1)];
      }),
    );
    const target = options.get("target") ?? options.get("dst") ?? options.get("destination");
    if (options.get("type") !== "cache" || target === undefined) {
      throw syntaxError(
        instruction.at,
        `RUN --mount=${written} is not supported`,
        "only --mount=type=cache,target=… is; copy other files with COPY",
      );
    }
    const path = posix.resolve("/", state.config.WorkingDir ?? "/", target);
    caches.push({ id: options.get("id") ?? path, target: path });
  }
  return caches;
}

function lastLines() {
  let text = "";
  const decoder = new TextDecoder();
  return {
    add(chunk: Uint8Array) {
      text = (text + decoder.decode(chunk, { stream: true })).slice(-16_384);
    },
    text: () => text.trimEnd().split("\n").slice(-outputLines).join("\n"),
  };
}
