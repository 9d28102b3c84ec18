/** How statuses look as tables. */
import type { Repository } from "@kws/api/repositories";
import { formatAge } from "@kws/base/duration";
import type { LocalImage } from "@kws/platform/providers/embedded";
import type { ProviderStatus } from "@kws/platform/providers/provider";
import type { Snapshot } from "@kws/platform/providers/snapshots";
import type { ServiceStatus } from "@kws/platform/services/status";
import type { ServerStatus } from "@kws/server/lifecycle";
import type { RemoteStatus } from "./remote-status.ts";
import { printable, type Style } from "./style.ts";

export function stateColor(style: Style, state: string): string {
  if (["ready", "running", "remote"].includes(state)) return style.green(state);
  return state === "failed" || state === "unreachable" ? style.red(state) : style.yellow(state);
}

export function serviceTable(
  statuses: ServiceStatus[],
  style: Style,
  now: number,
): { columns: string[]; rows: string[][] } {
  return {
    columns: ["SERVICE", "STACK", "STATE", "READY", "RESTARTS", "REVISION", "UPDATED", "ADDRESS"],
    rows: statuses.map((status) => [
      status.service,
      status.stack,
      stateColor(style, status.state) + (status.dev === undefined ? "" : ", dev"),
      `${status.ready}/${status.wanted}`,
      String(status.restarts),
      String(status.revision),
      age(status.updatedAt, now),
      status.address,
    ]),
  };
}

/** As rows of a table of services. */
export function remoteRows(remote: RemoteStatus[], style: Style): string[][] {
  return remote.map(({ service, stack, state, namespace, context }) => [
    service,
    stack,
    stateColor(style, state === "ready" ? "remote" : state),
    "",
    "",
    "",
    "",
    `${namespace} of ${context}`,
  ]);
}

export function serverTable(
  { state, url = "", pid, startedAt, memoryBytes, version = "" }: Omit<ServerStatus, "log">,
  style: Style,
  now: number,
): { columns: string[]; rows: string[][] } {
  return {
    columns: ["STATE", "ADDRESS", "VERSION", "PID", "UPTIME", "MEMORY"],
    rows: [
      [
        stateColor(style, state),
        url,
        version,
        String(pid ?? ""),
        startedAt === undefined ? "" : age(startedAt, now),
        memoryBytes === undefined ? "" : `${Math.round(memoryBytes / 2 ** 20)} MiB`,
      ],
    ],
  };
}

export function repositoryTable(
  repositories: Repository[],
  style: Style,
): { columns: string[]; rows: string[][] } {
  return {
    columns: ["NAME", "TEAM", "STATE", "BRANCH", "COMMIT", "SERVICES", "URL"],
    rows: repositories.map(({ name, team, state, branch, commit = "", services, url, problem }) => [
      name,
      team,
      stateColor(style, state) + (problem === undefined ? "" : `: ${printable(problem)}`),
      branch,
      commit.slice(0, 10),
      services.map((service) => service.name).join(", "),
      url,
    ]),
  };
}

export function clusterTable(
  clusters: ProviderStatus[],
  style: Style,
  now: number,
): { columns: string[]; rows: string[][] } {
  return {
    columns: ["NAME", "PROVIDER", "STATE", "VERSION", "API", "INGRESS", "UPTIME", "MEMORY"],
    rows: clusters.map((cluster) => [
      cluster.name,
      cluster.runtime === "docker" ? `${cluster.provider}, docker` : cluster.provider,
      stateColor(style, cluster.state),
      cluster.version ?? "",
      cluster.apiUrl ?? "",
      cluster.ingressPort === undefined ? "" : `http://*.localhost:${cluster.ingressPort}`,
      cluster.startedAt === undefined ? "" : formatAge(now - Date.parse(cluster.startedAt)),
      cluster.memoryBytes === undefined ? "" : `${Math.round(cluster.memoryBytes / 1024 / 1024)} MB`,
    ]),
  };
}

export function snapshotTable(snapshots: Snapshot[], now: number): { columns: string[]; rows: string[][] } {
  return {
    columns: ["SNAPSHOT", "CLUSTER", "AGE", "OBJECTS", "VOLUMES", "DATA", "IMAGES", "IMAGE DATA"],
    rows: snapshots.map((snapshot) => [
      snapshot.name,
      snapshot.cluster,
      age(snapshot.takenAt, now),
      String(snapshot.objects),
      String(snapshot.volumes),
      megabytes(snapshot.volumeBytes),
      String(snapshot.images),
      megabytes(snapshot.imageBytes),
    ]),
  };
}

export function imageTable(images: LocalImage[]): { columns: string[]; rows: string[][] } {
  return {
    columns: ["IMAGE", "DIGEST", "SIZE"],
    rows: images.flatMap(({ references, digest, size }) =>
      (references.length === 0 ? ["<none>"] : references).map((reference) => [
        reference,
        digest.slice(0, 19),
        megabytes(size),
      ]),
    ),
  };
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 / 1024)} MB`;
}

export function age(time: string, now: number): string {
  return time === "" ? "" : formatAge(now - Date.parse(time));
}
