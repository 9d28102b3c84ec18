/**
 * The door to the builders: `buildDockerfile` and `buildNode` on this machine, with its Node as the base image and its
 * sandbox for RUN, reporting in lines of text.
 */
import { StringDecoder } from "node:string_decoder";
import { ensureBaseImage } from "./base-image.ts";
import type { HostNode } from "./base-image.ts";
import type { BuildEvent, BuildResult, CheckOptions } from "./dockerfile/build.ts";
import type { Puller } from "./pull.ts";
import type { LocalImageStore } from "./store.ts";

export type { BuildResult } from "./dockerfile/build.ts";

interface CommonOptions {
  store: LocalImageStore;
  /** References for the result. */
  tags: string[];
  /** The Node for the base image; the one that runs this unless given. */
  node?: HostNode;
  /** Called with a line for each step that had to be made and each line that it prints. */
  onProgress?: (message: string) => void;
  /** Called with what is out of the ordinary, and no reason to fail. */
  onWarning?: (message: string) => void;
  signal?: AbortSignal;
}

export interface DockerfileOptions extends CommonOptions {
  puller: Puller;
  /** Ask registries for newer ones of stored base images. */
  pull?: boolean;
  context: string;
  /** `Dockerfile` in the context unless given. */
  dockerfile?: string;
  buildArgs?: Record<string, string>;
  target?: string;
  noCache?: boolean;
}

export interface NodeOptions extends CommonOptions {
  /** The service's folder. */
  dir: string;
  /** The file to run; what package.json says unless given. */
  entry?: string;
  /** A stored image to build on; the base image of this machine unless given. */
  base?: string;
}

function hostNode(): HostNode {
  return { path: process.execPath, version: process.versions.node };
}

/** Builds a Dockerfile; see `dockerfile/build.ts`. */
export async function buildDockerfile(options: DockerfileOptions): Promise<BuildResult> {
  const [{ buildDockerfile: build }, { runInSandbox }] = await Promise.all([
    import("./dockerfile/build.ts"),
    import("../kubelet/runtimes/sandbox/run.ts"),
  ]);
  const { onProgress = () => {}, onWarning = onProgress, ...rest } = options;
  return build({
    ...rest,
    node: options.node ?? hostNode(),
    sandbox: runInSandbox,
    onProgress: progressLines(onProgress, onWarning),
  });
}

/** Says before a build what is wrong with a Dockerfile; see `dockerfile/build.ts`. */
export async function checkDockerfile(options: Omit<CheckOptions, "node">): Promise<void> {
  const { checkDockerfile: check } = await import("./dockerfile/build.ts");
  await check({ ...options, node: hostNode() });
}

/** Builds a Node service without a Dockerfile; see `node-builder.ts`. */
export async function buildNode(options: NodeOptions): Promise<BuildResult> {
  const { buildNode: build } = await import("./node-builder.ts");
  const { store, onProgress } = options;
  const base = options.base ?? (await ensureBaseImage(store, options.node ?? hostNode())).digest;
  const result = await build({ ...options, base });
  for (const { instruction, cached, milliseconds } of result.steps) {
    if (!cached) onProgress?.(`${instruction}: ${milliseconds} ms`);
  }
  return result;
}

/** `total` is 0 until it is known. */
export function pullLine(reference: string, bytes: number, total: number): string {
  return `pull ${reference}${total === 0 ? "" : ` ${Math.floor((100 * bytes) / total)} %`}`;
}

function progressLines(
  write: (line: string) => void,
  warn: (line: string) => void,
): (event: BuildEvent) => void {
  const decoders = new Map<string, { decoder: StringDecoder; rest: string }>();
  return (event) => {
    switch (event.type) {
      case "warning":
        warn(`${event.at}: ${event.message}`);
        return;
      case "pull":
        write(pullLine(event.reference, event.bytes, event.total));
        return;
      case "done":
        if (!event.cached) write(`${event.instruction}: ${event.milliseconds} ms`);
        return;
      case "output": {
        const state = decoders.get(event.at) ?? { decoder: new StringDecoder("utf8"), rest: "" };
        decoders.set(event.at, state);
        const lines = (state.rest + state.decoder.write(Buffer.from(event.chunk))).split("\n");
        state.rest = lines.pop() ?? "";
        for (const line of lines) write(line);
        return;
      }
      case "step":
        return;
    }
  };
}
