/**
 * Bringing images to the nodes of a cluster without a registry: the node is asked which layers it has, and an archive with the
 * others goes to the standard input of its own image tool.
 */
import { Readable } from "node:stream";
import { ExecError, run } from "@kws/base/exec";
import type { Repository } from "@kws/oci/repository";
import { parseDocument, readManifest } from "@kws/oci/manifest";
import { imageArchive, layerBytes, openImage, type StoredImage } from "./image-archive.ts";

/** The images of a node, and how to reach them. */
export interface NodeStore {
  kind: "containerd" | "docker";
  /** For people. */
  node: string;
  /** The words of `ctr` or `docker` there, such as `docker exec --interactive kind-control-plane ctr`. */
  command: string[];
}

export interface LoadOptions {
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
}

/** What was sent, in bytes of layers; undefined where the node had the image under all of its names. */
export interface Loaded {
  sent: number;
  total: number;
}

export interface ImageToLoad {
  /** Where its blobs are. */
  repository: Repository;
  tag: string;
  digest: string;
}

export async function loadImage(
  store: NodeStore,
  { repository, tag, digest }: ImageToLoad,
  options: LoadOptions,
): Promise<Loaded | undefined> {
  const backend = store.kind === "containerd" ? containerd(store, options) : docker(store, options);
  const names = backend.names(repository.name, tag, digest);
  const image = await openImage(repository, tag, digest, options.signal);
  if (await backend.has(names, image)) return undefined;
  const total = layerBytes(image, new Set());
  const send = async (skip: ReadonlySet<string>) => {
    await backend.load(Readable.from(imageArchive(image, names, skip, options.signal)));
    return { sent: layerBytes(image, skip), total };
  };
  const present = await backend.present(image);
  try {
    return await send(present);
  } catch (error) {
    // The node may have dropped a layer since it was asked, or count on one that it no longer has whole.
    if (present.size === 0 || !(error instanceof ExecError)) throw error;
    return send(new Set());
  }
}

interface Backend {
  /** What an image has to be called so that the kubelet finds it. */
  names(repository: string, tag: string, digest: string): string[];
  has(names: string[], image: StoredImage): Promise<boolean>;
  /** Those of the image's layers that need not be sent. */
  present(image: StoredImage): Promise<ReadonlySet<string>>;
  load(archive: Readable): Promise<void>;
}

/** containerd keeps content by digest; Kubernetes' images are those of the namespace `k8s.io`. */
function containerd({ command }: NodeStore, options: LoadOptions): Backend {
  const ctr = async (args: string[], input?: Readable) => {
    const [file = "", ...rest] = [...command, "--namespace", "k8s.io", ...args];
    const { stdout } = await run(file, rest, { ...options, ...(input === undefined ? {} : { input }) });
    return stdout.split("\n").filter((line) => line !== "");
  };
  return {
    names: (repository, tag, digest) => [`${repository}:${tag}`, `${repository}@${digest}`],
    async has(names, { digest }) {
      // A line is: reference, media type, digest, size, platforms, labels.
      const lines = await ctr(["images", "ls", ...names.map((name) => `name==${JSON.stringify(name)}`)]);
      return lines.filter((line) => line.includes(` ${digest} `)).length === names.length;
    },
    async present() {
      return new Set(await ctr(["content", "ls", "--quiet"]));
    },
    async load(archive) {
      await ctr(["images", "import", "-"], archive);
    },
  };
}

/**
 * Docker Engine, whose Kubernetes finds a loaded image by its tag alone. It keeps layers by the digests of what is below them
 * (image-spec's ChainID), so a layer is there where an image begins with the same ones. With containerd as its image store
 * it keeps them as they were sent, so those count that came from here.
 */
function docker({ command }: NodeStore, options: LoadOptions): Backend {
  const engine = async (args: string[], input?: Readable) => {
    const [file = "", ...rest] = [...command, ...args];
    const { stdout } = await run(file, rest, { ...options, ...(input === undefined ? {} : { input }) });
    return stdout.split("\n").filter((line) => line !== "");
  };
  const images = async () => [...new Set(await engine(["image", "ls", "--quiet", "--no-trunc"]))];
  return {
    names: (repository, tag) => [`${repository}:${tag}`],
    async has([name = ""], { manifest, digest }) {
      const id = await engine(["image", "ls", "--quiet", "--no-trunc", name]);
      return id.some((one) => one === manifest.config.digest || one === digest);
    },
    async present(image) {
      const ids = await images();
      if (ids.length === 0) return new Set();
      const [driver = ""] = await engine(["info", "--format", "{{json .DriverStatus}}"]);
      if (driver.includes("io.containerd.snapshotter")) return layersOfOwn(image.repository, ids, options);
      const format = ["--format", "{{json .RootFS.Layers}}"];
      const others = (await engine(["image", "inspect", ...format, ...ids])).map(
        (line) => (JSON.parse(line) ?? []) as string[],
      );
      const { diff_ids: own } = image.document.rootfs;
      const common = others.map((other) => own.findIndex((layer, index) => layer !== other[index]));
      const depth = Math.max(0, ...common.map((at) => (at === -1 ? own.length : at)));
      return new Set(image.manifest.layers.slice(0, depth).map((layer) => layer.digest));
    },
    async load(archive) {
      await engine(["image", "load"], archive);
    },
  };
}

/** The layers of those images that are stored here as well, by their manifests' digests. */
async function layersOfOwn(
  repository: Repository,
  ids: string[],
  { signal }: LoadOptions,
): Promise<Set<string>> {
  const layers = new Set<string>();
  for (const id of ids) {
    if (!(await repository.hasBlob(id, { signal }))) continue;
    const { bytes } = await repository.manifest(id, { signal });
    for (const { digest } of readManifest(parseDocument(bytes, id), id).layers) layers.add(digest);
  }
  return layers;
}
