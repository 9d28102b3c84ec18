/** The OCI documents of an image, checked when they are read (https://github.com/opencontainers/image-spec). */
import { UserError } from "@kws/base/errors";
import { digestPattern, mediaTypes } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";

export interface Manifest {
  schemaVersion: 2;
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
}

export interface History {
  created?: string;
  created_by?: string;
  comment?: string;
  empty_layer?: boolean;
}

/** The parts of an OCI image configuration that matter at run time (https://github.com/opencontainers/image-spec/blob/main/config.md). */
export interface ImageConfig {
  User?: string;
  Env?: string[];
  Entrypoint?: string[];
  Cmd?: string[];
  WorkingDir?: string;
  ExposedPorts?: Record<string, object>;
  Labels?: Record<string, string>;
  StopSignal?: string;
  Volumes?: Record<string, object>;
  /** Stored for other tools; Kubernetes has probes of its own. Durations are in nanoseconds. */
  Healthcheck?: {
    Test: string[];
    Interval?: number;
    Timeout?: number;
    StartPeriod?: number;
    Retries?: number;
  };
  /** The shell of later builds' RUN, where the Dockerfile changed it. */
  Shell?: string[];
}

/** The configuration blob. */
export interface ImageDocument {
  created?: string;
  architecture: string;
  os: string;
  config: ImageConfig;
  rootfs: { type: "layers"; diff_ids: string[] };
  history?: History[];
}

/** A layer of an image in the store: what the manifest says and the digest of its uncompressed archive. */
export interface Layer {
  descriptor: Descriptor;
  diffId: string;
}

/** `arm64`, `amd64`: Go's names, which OCI uses. */
export function ociArchitecture(arch: string): string {
  return arch === "x64" ? "amd64" : arch === "ia32" ? "386" : arch;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function invalid(where: string, what: string): UserError {
  return new UserError(`${where}: ${what}`, {
    code: "config",
    fix: "export the image again with docker save or an OCI tool",
  });
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

export function readDescriptor(value: unknown, where: string): Descriptor {
  if (
    !isRecord(value) ||
    typeof value["digest"] !== "string" ||
    !digestPattern.test(value["digest"]) ||
    !isSize(value["size"])
  ) {
    throw invalid(where, "a descriptor needs a sha256 digest and a size");
  }
  const { mediaType, digest, size, annotations, platform } = value;
  return {
    mediaType: typeof mediaType === "string" ? mediaType : "",
    digest,
    size,
    ...(isRecord(annotations) ? { annotations: strings(annotations) } : {}),
    ...(isRecord(platform) ? { platform: strings(platform) } : {}),
  };
}

export function readManifest(value: unknown, where: string): Manifest {
  if (!isRecord(value) || !Array.isArray(value["layers"])) {
    throw invalid(where, "is not an image manifest");
  }
  return {
    schemaVersion: 2,
    mediaType: typeof value["mediaType"] === "string" ? value["mediaType"] : "",
    config: readDescriptor(value["config"], where),
    layers: value["layers"].map((layer) => readDescriptor(layer, where)),
  };
}

/** The descriptors of an index, and undefined where the document is not one. */
export function readIndex(value: unknown, where: string): Descriptor[] | undefined {
  if (!isRecord(value) || !Array.isArray(value["manifests"])) return undefined;
  return value["manifests"].map((entry) => readDescriptor(entry, where));
}

export function readImageDocument(value: unknown, where: string): ImageDocument {
  const rootfs = isRecord(value) ? value["rootfs"] : undefined;
  const diffIds = isRecord(rootfs) ? rootfs["diff_ids"] : undefined;
  if (!isRecord(value) || !Array.isArray(diffIds)) {
    throw invalid(where, "is not an image configuration");
  }
  for (const diffId of diffIds) {
    if (typeof diffId !== "string" || !digestPattern.test(diffId)) {
      throw invalid(where, `"${String(diffId)}" is not a sha256 digest`);
    }
  }
  const history = value["history"];
  return {
    ...(typeof value["created"] === "string" ? { created: value["created"] } : {}),
    architecture: typeof value["architecture"] === "string" ? value["architecture"] : "",
    os: typeof value["os"] === "string" ? value["os"] : "linux",
    config: isRecord(value["config"]) ? readConfig(value["config"]) : {},
    rootfs: { type: "layers", diff_ids: diffIds as string[] },
    ...(Array.isArray(history) ? { history: history.filter(isRecord) } : {}),
  };
}

/** Docker writes `null` for what is absent. */
function readConfig(value: Record<string, unknown>): ImageConfig {
  const present = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(present);
}

function strings(record: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(record).flatMap(([key, value]) => (typeof value === "string" ? [[key, value]] : [])),
  );
}

/** What a manifest says it is, or looks like where it says nothing. */
export function mediaTypeOf(bytes: Uint8Array, where: string): string {
  const value = parseDocument(bytes, where);
  if (!isRecord(value)) throw invalid(where, "is not a manifest");
  if (typeof value["mediaType"] === "string") return value["mediaType"];
  if (Array.isArray(value["manifests"])) return mediaTypes.index;
  if (isRecord(value["config"])) return mediaTypes.manifest;
  throw invalid(where, "is not a manifest");
}

export function parseDocument(bytes: Uint8Array, where: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw new UserError(`${where}: is not JSON`, { code: "config", cause: error });
  }
}
