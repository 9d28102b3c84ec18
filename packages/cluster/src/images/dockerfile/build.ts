/**
 * Builds an image from a Dockerfile (https://docs.docker.com/reference/dockerfile/) into the image store, without an
 * engine. Only the stages that the target needs are built, side by side where they can be. What a step makes is kept
 * under a key of all that decides it, and a layer's bytes depend on its content alone; so a build repeated anywhere
 * gives the same digest, and one with nothing changed does nothing.
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { UserError, isErrno } from "@kws/base/errors";
import type { HostNode } from "../base-image.ts";
import { listContext, openDigests, readIgnore } from "../context.ts";
import type { ContextFile, FileDigests } from "../context.ts";
import type { ImageConfig } from "@kws/oci/manifest";
import { ociArchitecture } from "@kws/oci/manifest";
import type { History, Layer } from "@kws/oci/manifest";
import { canonicalReference } from "@kws/oci/reference";
import type { LocalImageStore } from "../store.ts";
import type { Puller } from "../pull.ts";
import { baseImage, configOfBase } from "./bases.ts";
import type { BaseEvent } from "./bases.ts";
import { parseDockerfile, syntaxError } from "./parse.ts";
import type { Dockerfile, Instruction, Stage } from "./parse.ts";
import type { RunInSandbox } from "./run.ts";
import { applySetting, envRecord, placed } from "./settings.ts";
import { copy, run, workdir } from "./steps.ts";
import type { Step } from "./steps.ts";
import { WordError, expandWord, splitWords } from "./words.ts";
import type { Lookup } from "./words.ts";

export interface BuildOptions {
  /** The folder that COPY reads. */
  context: string;
  /** Path of the Dockerfile; `Dockerfile` in the context unless given. */
  dockerfile?: string;
  store: LocalImageStore;
  /** For base images that are not stored. */
  puller: Puller;
  /** Ask registries for newer ones of stored base images. */
  pull?: boolean;
  /** References for the result. */
  tags: string[];
  buildArgs?: Record<string, string>;
  /** A stage's name or number; the last unless given. */
  target?: string;
  /** The Node for `kws.local/node`. */
  node: HostNode;
  /** Runs RUN; without it a Dockerfile with RUN fails. */
  sandbox?: RunInSandbox;
  /** Run every step again. */
  noCache?: boolean;
  onProgress?: (event: BuildEvent) => void;
  signal?: AbortSignal;
}

export type BuildEvent =
  | { type: "step"; stage: string; instruction: string; at: string }
  | { type: "output"; stage: string; at: string; chunk: Uint8Array }
  | { type: "done"; stage: string; instruction: string; cached: boolean; milliseconds: number }
  | BaseEvent;

export interface BuildResult {
  /** The first tag, or the digest. */
  reference: string;
  digest: string;
  /** Every step that makes files was kept from before. */
  cached: boolean;
  steps: { instruction: string; cached: boolean; milliseconds: number }[];
}

/** What the steps of a build share. */
export interface BuildContext {
  store: LocalImageStore;
  /** Nothing is made: steps only say what is wrong with them. */
  dry: boolean;
  escape: string;
  sandbox: RunInSandbox | undefined;
  noCache: boolean;
  signal: AbortSignal | undefined;
  proxies: Record<string, string>;
  /** Of the build context; undefined where a check cannot know them. */
  files(): Promise<ContextFile[] | undefined>;
  digests(): Promise<FileDigests>;
  /** Unpacked layers of a stage or an image, for `--from`; undefined for a check, which has none. */
  layersOf(from: string, at: string): Promise<string[] | undefined>;
  onOutput(state: StageState, instruction: Instruction, chunk: Uint8Array): void;
}

export interface StageState {
  name: string;
  layers: Layer[];
  config: ImageConfig;
  history: History[];
  /** ARGs in scope, for RUN. */
  args: Record<string, string>;
  lookup: Lookup;
  commandIsOwn: boolean;
  /** False in a check where the base image, and so its variables, are still to be made. */
  known: boolean;
  steps: BuildResult["steps"];
}

/** Known to RUN without an ARG, and no part of what decides a step. */
const proxyArgs = new Set(
  ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"].flatMap((name) => [
    name,
    name.toLowerCase(),
  ]),
);

/**
 * Throws a `UserError` with the place in the Dockerfile: code `config` for what cannot be built as written, a base image that
 * does not exist among it, `failed` for a RUN that fails, and the registry's own for a base image that it does not give.
 */
export async function buildDockerfile(options: BuildOptions): Promise<BuildResult> {
  const { state, stages, digests } = await walkStages(options);
  await digests?.save();
  const { digest } = await options.store.addImage({
    config: state.config,
    layers: state.layers,
    history: state.history,
    references: options.tags,
  });
  const steps = stages.flatMap((stage) => stage.steps);
  const reference = options.tags[0] === undefined ? digest : canonicalReference(options.tags[0]);
  return { reference, digest, cached: steps.every((step) => step.cached), steps };
}

export interface CheckOptions extends Pick<
  BuildOptions,
  "context" | "dockerfile" | "store" | "puller" | "buildArgs" | "target" | "node" | "signal"
> {
  /** Files of the context are still to come, so that a COPY of what is missing may be right. */
  incomplete?: boolean;
}

/**
 * Throws what `buildDockerfile` would throw for a Dockerfile that cannot be built as it is written, with its context and the
 * images as they are. Nothing is made or run, and no image pulled: registries are asked about those that are not stored.
 */
export async function checkDockerfile(options: CheckOptions): Promise<void> {
  await walkStages({ ...options, tags: [] }, options);
}

async function walkStages(
  options: BuildOptions,
  check?: CheckOptions,
): Promise<{ state: StageState; stages: StageState[]; digests: FileDigests | undefined }> {
  const { store } = options;
  const dry = check !== undefined;
  const path = options.dockerfile ?? resolve(options.context, "Dockerfile");
  const dockerfile = parseDockerfile(await readDockerfile(path), path);
  const platform = platformArgs();
  const globals: Record<string, string> = {};
  const globalLookup: Lookup = (name) => globals[name] ?? platform[name];
  for (const instruction of dockerfile.args) {
    for (const [name, value] of readArgs(instruction, dockerfile.escape, globalLookup)) {
      const given = options.buildArgs?.[name] ?? value;
      if (given !== undefined) globals[name] = given;
    }
  }
  const proxies = Object.fromEntries(
    Object.entries(options.buildArgs ?? {}).filter(([name]) => proxyArgs.has(name)),
  );
  const { stages } = dockerfile;
  const target = findTarget(dockerfile, options.target);
  const building = new Map<number, Promise<StageState>>();
  let listing: Promise<ContextFile[]> | undefined;
  let digests: Promise<FileDigests> | undefined;

  const stageIndex = (name: string, before: number): number => {
    const named = stages.findIndex((stage) => stage.name === name.toLowerCase());
    if (named !== -1 && named < before) return named;
    return /^\d+$/.test(name) && Number(name) < before ? Number(name) : -1;
  };

  const stateOf = (index: number): Promise<StageState> => {
    const known = building.get(index);
    if (known !== undefined) return known;
    const promise = buildStage(index);
    // A stage that fails while another is awaited is reported when its own turn comes.
    promise.catch(() => {});
    building.set(index, promise);
    return promise;
  };

  const startState = async (stage: Stage, index: number): Promise<StageState> => {
    const { from } = stage;
    const { escape } = dockerfile;
    checkPlatform(stage, globalLookup, escape);
    const base = placed(from, () => expandWord(stage.base, escape, globalLookup));
    const name = stage.name ?? String(index);
    const empty = { name, args: {}, commandIsOwn: false, known: true, steps: [] };
    const lookup: Lookup = () => undefined;
    const earlier = stageIndex(base, index);
    if (earlier !== -1) {
      const { layers, config, history, known } = await stateOf(earlier);
      return { ...empty, lookup, layers: [...layers], config, history: [...history], known };
    }
    const start = { ...empty, lookup, layers: [], config: {}, history: [] };
    if (base === "scratch") return start;
    if (dry) {
      const config = await configOfBase(options, base, from.at);
      return { ...start, config: config ?? {}, known: config !== undefined };
    }
    const stored = await baseImage(options, base, from.at);
    const { config, history = [] } = stored.document;
    return { ...start, layers: [...stored.layers], config, history: [...history] };
  };

  const buildStage = async (index: number): Promise<StageState> => {
    const stage = stages[index];
    if (stage === undefined) throw new Error(`there is no stage ${index}`);
    // Stages that this one copies from begin now, beside its own steps.
    for (const { flags } of stage.instructions) {
      const from = flags.find(({ name }) => name === "from")?.value;
      const earlier = from === undefined ? -1 : stageIndex(from, index);
      if (earlier !== -1) void stateOf(earlier);
    }
    const state = await startState(stage, index);
    state.lookup = (name) => envRecord(state.config.Env)[name] ?? state.args[name];
    const build: BuildContext = {
      store,
      dry,
      escape: dockerfile.escape,
      sandbox: options.sandbox,
      noCache: options.noCache ?? false,
      signal: options.signal,
      proxies,
      async files() {
        if (check?.incomplete === true || !state.known) return undefined;
        return (listing ??= readIgnore(options.context, path)
          .then((rules) => listContext(options.context, rules))
          .then((files) => files.map(withoutUmask)));
      },
      digests: () => (digests ??= openDigests(store, resolve(options.context))),
      async layersOf(from, at) {
        const earlier = stageIndex(from, index);
        if (dry) {
          await (earlier === -1 ? configOfBase(options, from, at) : stateOf(earlier));
          return undefined;
        }
        const { layers } = earlier === -1 ? await baseImage(options, from, at) : await stateOf(earlier);
        return store.unpack(layers);
      },
      onOutput: ({ name }, { at }, chunk) => options.onProgress?.({ type: "output", stage: name, at, chunk }),
    };
    for (const instruction of stage.instructions) {
      options.signal?.throwIfAborted();
      await runStep(build, state, instruction);
    }
    return state;
  };

  const runStep = async (build: BuildContext, state: StageState, instruction: Instruction) => {
    const text = describe(instruction);
    const { at } = instruction;
    options.onProgress?.({ type: "step", stage: state.name, instruction: text, at });
    const started = performance.now();
    const step = await execute(build, state, instruction);
    if (step?.layer !== undefined) state.layers.push(step.layer);
    const cached = step?.cached ?? true;
    const milliseconds = Math.round(performance.now() - started);
    state.history.push({
      created: "1970-01-01T00:00:00Z",
      created_by: text,
      ...(step?.layer === undefined ? { empty_layer: true } : {}),
    });
    state.steps.push({ instruction: text, cached, milliseconds });
    options.onProgress?.({ type: "done", stage: state.name, instruction: text, cached, milliseconds });
  };

  const execute = async (
    build: BuildContext,
    state: StageState,
    instruction: Instruction,
  ): Promise<Step | undefined> => {
    const { keyword, at } = instruction;
    switch (keyword) {
      case "RUN":
        return run(build, state, instruction);
      case "COPY":
      case "ADD":
        return copy(build, state, instruction);
      case "WORKDIR":
        return workdir(build, state, instruction);
      case "ARG":
        for (const [name, value] of readArgs(instruction, dockerfile.escape, state.lookup)) {
          const given = options.buildArgs?.[name] ?? value ?? globalLookup(name);
          if (given !== undefined) state.args[name] = given;
        }
        return undefined;
      case "ONBUILD": {
        const message = "ONBUILD is ignored: images in the OCI format have no triggers";
        options.onProgress?.({ type: "warning", at, message });
        return undefined;
      }
      default: {
        const config = applySetting(state.config, instruction, {
          escape: dockerfile.escape,
          lookup: state.lookup,
          commandIsOwn: state.commandIsOwn,
        });
        if (config === undefined) throw syntaxError(at, `${keyword} is not supported`);
        state.config = config;
        if (keyword === "CMD") state.commandIsOwn = true;
        return undefined;
      }
    }
  };

  const state = await stateOf(target);
  return { state, stages: await Promise.all(building.values()), digests: await digests };
}

/**
 * Git keeps of a mode whether the file is executable; the rest comes from the umask of whoever cloned. Without what the group
 * and others may write, the usual ones (022 and 002) give the same layer.
 */
function withoutUmask(file: ContextFile): ContextFile {
  return { ...file, mode: file.mode & ~0o022 };
}

async function readDockerfile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT", "EISDIR")) throw error;
    throw new UserError(`there is no Dockerfile at ${path}`, {
      code: "not-found",
      fix: "write one, or build without: a Node service needs none",
      cause: error,
    });
  }
}

function describe(instruction: Instruction): string {
  const flags = instruction.flags.map(({ name, value }) => `--${name}${value && `=${value}`} `);
  return `${instruction.keyword} ${flags.join("")}${instruction.text.replaceAll(/\s+/g, " ")}`;
}

function readArgs(instruction: Instruction, escape: string, lookup: Lookup): [string, string | undefined][] {
  return placed(instruction, () =>
    splitWords(instruction.text, escape, lookup).map((word): [string, string | undefined] => {
      const [, name, value] = /^([A-Za-z_]\w*)(?:=(.*))?$/s.exec(word) ?? [];
      if (name === undefined) throw new WordError(`"${word}" does not name an argument`);
      return [name, value];
    }),
  );
}

function platformArgs(): Record<string, string> {
  const arch = ociArchitecture(process.arch);
  const values: Record<string, string> = {};
  for (const side of ["TARGET", "BUILD"]) {
    values[`${side}PLATFORM`] = `linux/${arch}`;
    values[`${side}OS`] = "linux";
    values[`${side}ARCH`] = arch;
    values[`${side}VARIANT`] = "";
  }
  return values;
}

function checkPlatform(stage: Stage, lookup: Lookup, escape: string): void {
  const written = stage.from.flags.find(({ name }) => name === "platform")?.value;
  if (written === undefined) return;
  const platform = placed(stage.from, () => expandWord(written, escape, lookup));
  const mine = `linux/${ociArchitecture(process.arch)}`;
  if (platform !== mine && !platform.startsWith(`${mine}/`)) {
    throw syntaxError(stage.from.at, `this machine builds for ${mine}, not for ${platform}`);
  }
}

function findTarget(dockerfile: Dockerfile, target: string | undefined): number {
  const { stages } = dockerfile;
  if (target === undefined) return stages.length - 1;
  const named = stages.findIndex((stage) => stage.name === target.toLowerCase());
  if (named !== -1) return named;
  if (/^\d+$/.test(target) && Number(target) < stages.length) return Number(target);
  const names = stages.flatMap((stage) => stage.name ?? []);
  throw new UserError(`${dockerfile.name} has no stage "${target}"`, {
    code: "config",
    fix: names.length === 0 ? "name a stage with FROM … AS" : `use one of: ${names.join(", ")}`,
  });
}
