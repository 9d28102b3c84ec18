/** Names, labels and places of what a cluster has in a Docker Engine. */
import type Docker from "dockerode";
import { groupNameOf } from "../sandbox/cgroups.ts";
import type { Outward } from "../sandbox/protocol.ts";

/** A cluster's share of an engine. */
export interface EngineShare {
  docker: Docker;
  /** The cluster's own folder within its data, as containers' binds name it. */
  dataDir: string;
  /** What all names begin with; unique among the clusters of all users of the engine. */
  group: string;
  /** On everything that is made. */
  labels: Record<string, string>;
}

export const labels = {
  /** The cluster's name, for people. */
  cluster: "kws.dev/cluster",
  group: "kws.dev/group",
  /** JSON of what is known of a pod sandbox, on the container that holds it. */
  sandbox: "kws.dev/sandbox",
  /** JSON of what is known of a container. */
  container: "kws.dev/container",
  /** On images that were loaded for clusters, of whichever user. */
  image: "kws.dev/image",
  /** What the helper was made of: another one replaces it. */
  helper: "kws.dev/helper",
} as const;

export function shareOf(docker: Docker, cluster: string, dataDir: string): EngineShare {
  const group = groupNameOf(dataDir);
  return { docker, dataDir, group, labels: { [labels.cluster]: cluster, [labels.group]: group } };
}

/** For listings: what is of this cluster, and of this kind where one is given. */
export function ofShare({ group }: EngineShare, label?: string): { label: string[] } {
  return { label: [`${labels.group}=${group}`, ...(label === undefined ? [] : [label])] };
}

/** In the helper's container. */
export const helperPaths = { folder: "/kws", token: "/run/kws/token", port: 7070 } as const;
/** The helper's Unix sockets whose connections the daemon takes to the host's side. */
export const outwardSockets: Record<Outward, string> = {
  apiserver: "/run/kws/apiserver.sock",
  host: "/run/kws/host.sock",
};
