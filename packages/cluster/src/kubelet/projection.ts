/** The files of configMap, secret, downwardAPI and projected volumes. */
import { isApiError } from "@kws/kube/status";
import type { ProjectedFile } from "./atomic.ts";
import { fieldValue, resourceValue } from "./downward.ts";
import type { DownwardItem, KeyToPath, Pod, ProjectedSource, Volume } from "./pod.ts";
import type { VolumeContext } from "./volumes.ts";

export interface Projection {
  files: Map<string, ProjectedFile>;
}

/** The files of the volume, or undefined where it projects nothing. Throws when something it needs is missing. */
export async function projectVolume(volume: Volume, context: VolumeContext): Promise<Projection | undefined> {
  const { configMap, secret, downwardAPI, projected } = volume;
  const sources: ProjectedSource[] | undefined = configMap
    ? [{ configMap }]
    : secret
      ? [{ secret: { ...secret, name: secret.secretName } }]
      : downwardAPI
        ? [{ downwardAPI }]
        : projected && (projected.sources ?? []);
  if (sources === undefined) return undefined;
  const mode = (configMap ?? secret ?? downwardAPI ?? projected)?.defaultMode ?? 0o644;
  const files = new Map<string, ProjectedFile>();
  for (const source of sources) await project(source, mode, context, files);
  return { files };
}

async function project(
  source: ProjectedSource,
  mode: number,
  context: VolumeContext,
  files: Map<string, ProjectedFile>,
): Promise<void> {
  const { configMap, secret, downwardAPI, serviceAccountToken } = source;
  if (configMap) {
    const object = await context.reference("ConfigMap", configMap.name);
    if (object === undefined) {
      if (configMap.optional) return;
      throw new Error(`configmap "${configMap.name}" not found`);
    }
    const data = [
      ...decode(object.data as Record<string, string> | undefined, "utf8"),
      ...decode(object.binaryData as Record<string, string> | undefined, "base64"),
    ];
    select(new Map(data), configMap, "configmap", mode, files);
  }
  if (secret) {
    const object = await context.reference("Secret", secret.name);
    if (object === undefined) {
      if (secret.optional) return;
      throw new Error(`secret "${secret.name}" not found`);
    }
    const data = decode(object.data as Record<string, string> | undefined, "base64");
    select(new Map(data), secret, "secret", mode, files);
  }
  for (const item of downwardAPI?.items ?? []) {
    files.set(item.path, {
      data: Buffer.from(downwardValue(item, context)),
      mode: item.mode ?? mode,
    });
  }
  if (serviceAccountToken) {
    const { audience, expirationSeconds = 3600, path } = serviceAccountToken;
    const token = await fetchToken(context, audience, expirationSeconds);
    files.set(path, { data: Buffer.from(token), mode });
  }
}

async function fetchToken(
  context: VolumeContext,
  audience: string | undefined,
  seconds: number,
): Promise<string> {
  try {
    return await context.token(audience, seconds);
  } catch (error) {
    if (!isApiError(error)) throw error;
    throw new Error(`failed to fetch token: ${error.message}`, { cause: error });
  }
}

function downwardValue(
  item: DownwardItem,
  { pod, machine }: { pod: Pod; machine: VolumeContext["machine"] },
): string {
  if (item.fieldRef) return fieldValue(pod, item.fieldRef);
  if (item.resourceFieldRef) return resourceValue(pod, undefined, item.resourceFieldRef, machine);
  return "";
}

function decode(data: Record<string, string> | undefined, encoding: BufferEncoding): [string, Buffer][] {
  return Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value, encoding)]);
}

function select(
  data: Map<string, Buffer>,
  { items, optional }: { items?: KeyToPath[]; optional?: boolean },
  kind: string,
  mode: number,
  files: Map<string, ProjectedFile>,
): void {
  if (items === undefined || items.length === 0) {
    for (const [key, bytes] of data) files.set(key, { data: bytes, mode });
    return;
  }
  for (const item of items) {
    const bytes = data.get(item.key);
    if (bytes !== undefined) files.set(item.path, { data: bytes, mode: item.mode ?? mode });
    else if (!optional) throw new Error(`${kind} references non-existent config key: ${item.key}`);
  }
}
