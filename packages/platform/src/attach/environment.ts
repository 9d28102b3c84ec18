/**
 * What a service's container is given, as the kubelet would give it: environment variables from the pod's specification,
 * ConfigMaps, Secrets and the pod itself, and the files of its volumes. What the image itself sets is left out.
 */
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { configMaps, secrets } from "@kws/kube/resources";

interface KeyRef {
  name?: string;
  key: string;
  optional?: boolean;
}

interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: {
    configMapKeyRef?: KeyRef;
    secretKeyRef?: KeyRef;
    fieldRef?: { fieldPath: string };
    resourceFieldRef?: { resource: string; divisor?: string };
  };
}

interface EnvFrom {
  prefix?: string;
  configMapRef?: { name?: string };
  secretRef?: { name?: string };
}

interface Source {
  configMap?: { name?: string; items?: Item[] };
  secret?: { secretName?: string; name?: string; items?: Item[] };
  downwardAPI?: { items?: { path: string; fieldRef?: { fieldPath: string } }[] };
  projected?: { sources?: Source[] };
  emptyDir?: object;
}

interface Item {
  key: string;
  path: string;
}

export interface PodContainer {
  name: string;
  env?: EnvVar[];
  envFrom?: EnvFrom[];
  volumeMounts?: { name: string; mountPath: string; subPath?: string }[];
}

/** ConfigMaps and Secrets of a namespace, each asked for once. */
export class Sources {
  readonly #client: KubeClient;
  readonly #namespace: string;
  readonly #known = new Map<string, Promise<Record<string, Buffer>>>();

  constructor(client: KubeClient, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
  }

  configMap(name = ""): Promise<Record<string, Buffer>> {
    return this.#read("ConfigMap", configMaps, name);
  }

  secret(name = ""): Promise<Record<string, Buffer>> {
    return this.#read("Secret", secrets, name);
  }

  /** Nothing where there is none: the pod runs, so whatever is missing was optional. */
  #read(kind: string, resource: Resource, name: string): Promise<Record<string, Buffer>> {
    const key = `${kind}/${name}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const read = this.#client.find(resource, name, this.#namespace).then((object) => dataOf(object, kind));
    this.#known.set(key, read);
    return read;
  }
}

function dataOf(object: KubeObject | undefined, kind: string): Record<string, Buffer> {
  const plain = (object?.["data"] ?? {}) as Record<string, string>;
  const binary = (object?.["binaryData"] ?? {}) as Record<string, string>;
  const texts = Object.entries(plain).map(
    ([key, text]) => [key, Buffer.from(text, kind === "Secret" ? "base64" : "utf8")] as const,
  );
  return Object.fromEntries([
    ...texts,
    ...Object.entries(binary).map(([key, text]) => [key, Buffer.from(text, "base64")] as const),
  ]);
}

/** The container's variables; those that cannot be known on this machine are left out. */
export async function environmentOf(
  pod: KubeObject,
  container: PodContainer,
  sources: Sources,
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { prefix = "", configMapRef, secretRef } of container.envFrom ?? []) {
    const data = configMapRef
      ? await sources.configMap(configMapRef.name)
      : await sources.secret(secretRef?.name);
    for (const [key, value] of Object.entries(data)) found[`${prefix}${key}`] = value.toString("utf8");
  }
  for (const variable of container.env ?? []) {
    const value = await valueOf(pod, variable, sources, found);
    if (value !== undefined) found[variable.name] = value;
  }
  return found;
}

async function valueOf(
  pod: KubeObject,
  { value, valueFrom }: EnvVar,
  sources: Sources,
  known: Record<string, string>,
): Promise<string | undefined> {
  if (valueFrom === undefined) return expand(value ?? "", known);
  const { configMapKeyRef, secretKeyRef, fieldRef } = valueFrom;
  if (configMapKeyRef !== undefined) {
    return (await sources.configMap(configMapKeyRef.name))[configMapKeyRef.key]?.toString("utf8");
  }
  if (secretKeyRef !== undefined) {
    return (await sources.secret(secretKeyRef.name))[secretKeyRef.key]?.toString("utf8");
  }
  return fieldRef === undefined ? undefined : fieldOf(pod, fieldRef.fieldPath);
}

/** `$(NAME)` of a variable before it, `$$(NAME)` for itself (k8s.io/kubernetes third_party/forked/golang/expansion). */
export function expand(text: string, known: Record<string, string>): string {
  return text.replaceAll(/\$\$|\$\(([^()]*)\)/g, (whole, name: string | undefined) =>
    name === undefined ? "$" : (known[name] ?? whole),
  );
}

/** Of the downward API; undefined for what a pod does not say. */
function fieldOf({ metadata, spec, status }: KubeObject, path: string): string | undefined {
  const keyed = /^metadata\.(labels|annotations)(?:\['([^']+)'\])?$/.exec(path);
  if (keyed !== null) {
    const all = (keyed[1] === "labels" ? metadata.labels : metadata.annotations) ?? {};
    if (keyed[2] !== undefined) return all[keyed[2]] ?? "";
    return Object.entries(all)
      .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
      .join("\n");
  }
  const fields: Record<string, unknown> = {
    "metadata.name": metadata.name,
    "metadata.namespace": metadata.namespace,
    "metadata.uid": metadata.uid,
    "spec.nodeName": spec?.nodeName,
    "spec.serviceAccountName": spec?.serviceAccountName,
    "status.hostIP": status?.hostIP,
    "status.podIP": status?.podIP,
  };
  const value = fields[path];
  return typeof value === "string" ? value : undefined;
}

export interface MountedFiles {
  /** By absolute path in the container. */
  files: Map<string, Buffer>;
  /** Where they are mounted. */
  mounts: string[];
  /** Mount paths of volumes that cannot be had here, such as claims. */
  missing: string[];
}

export async function filesOf(
  pod: KubeObject,
  container: PodContainer,
  sources: Sources,
): Promise<MountedFiles> {
  const volumes = (pod["spec"]?.volumes ?? []) as (Source & { name: string })[];
  const result: MountedFiles = { files: new Map(), mounts: [], missing: [] };
  for (const { name, mountPath, subPath } of container.volumeMounts ?? []) {
    const volume = volumes.find((one) => one.name === name);
    const content = volume === undefined ? undefined : await contentOf(pod, volume, sources);
    if (content === undefined) {
      result.missing.push(mountPath);
      continue;
    }
    result.mounts.push(mountPath);
    for (const [path, bytes] of Object.entries(content)) {
      if (subPath === undefined) result.files.set(`${mountPath}/${path}`, bytes);
      else if (path === subPath) result.files.set(mountPath, bytes);
      else if (path.startsWith(`${subPath}/`)) {
        result.files.set(`${mountPath}/${path.slice(subPath.length + 1)}`, bytes);
      }
    }
  }
  return result;
}

async function contentOf(
  pod: KubeObject,
  { configMap, secret, downwardAPI, projected, emptyDir }: Source,
  sources: Sources,
): Promise<Record<string, Buffer> | undefined> {
  if (configMap !== undefined) return chosen(await sources.configMap(configMap.name), configMap.items);
  if (secret !== undefined) {
    return chosen(await sources.secret(secret.secretName ?? secret.name), secret.items);
  }
  if (downwardAPI !== undefined) {
    const items = downwardAPI.items ?? [];
    return Object.fromEntries(
      items.map(({ path, fieldRef }) => [path, Buffer.from(fieldOf(pod, fieldRef?.fieldPath ?? "") ?? "")]),
    );
  }
  if (projected !== undefined) {
    const parts = await Promise.all(
      (projected.sources ?? []).map((source) => contentOf(pod, source, sources)),
    );
    // The token of the service account stays in the cluster.
    return Object.assign({}, ...parts.filter((part) => part !== undefined)) as Record<string, Buffer>;
  }
  return emptyDir === undefined ? undefined : {};
}

function chosen(data: Record<string, Buffer>, items: Item[] | undefined): Record<string, Buffer> {
  if (items === undefined) return data;
  return Object.fromEntries(
    items.flatMap(({ key, path }) => (data[key] === undefined ? [] : [[path, data[key]]])),
  );
}

/** Values that name a mounted file lead to where it is on this machine. */
export function relocate(
  env: Record<string, string>,
  mounts: string[],
  root: string,
): Record<string, string> {
  const isMounted = (value: string) => mounts.some((path) => value === path || value.startsWith(`${path}/`));
  return Object.fromEntries(
    Object.entries(env).map(([name, value]) => [name, isMounted(value) ? `${root}${value}` : value]),
  );
}
