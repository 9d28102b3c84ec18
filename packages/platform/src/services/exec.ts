/** Running a command in a service's container: which pod, and the arguments for kubectl, which knows terminals. */
import { UserError } from "@kws/base/errors";
import type { Connection } from "../providers/provider.ts";
import type { Release } from "./releases.ts";
import { readNamespace, workloadsOf } from "./workloads.ts";

export interface ExecRequest {
  release: Release;
  command: string[];
  container?: string;
  tty: boolean;
}

/** kubectl's arguments for the first running pod of the service. */
export async function execArguments(connection: Connection, request: ExecRequest): Promise<string[]> {
  const { release, container } = request;
  const workloads = workloadsOf(await readNamespace(connection.client, release.namespace), release.service);
  const running = workloads
    .flatMap((workload) => workload.pods)
    .filter((pod) => pod["status"]?.phase === "Running" && pod.metadata.deletionTimestamp === undefined);
  const isReady = (pod: (typeof running)[number]) =>
    ((pod["status"]?.containerStatuses ?? []) as { ready?: boolean }[]).every(({ ready }) => ready === true);
  const pod = running.find(isReady) ?? running[0];
  if (pod === undefined) {
    throw new UserError(`${release.service} has no running pod`, {
      code: "not-found",
      fix: `See \`kws service status ${release.service} --stack ${release.stack}\`.`,
    });
  }
  const { path, context } = connection.kubeconfig;
  const args = ["--kubeconfig", path, "--namespace", release.namespace];
  if (context !== undefined) args.push("--context", context);
  args.push("exec", "--quiet", "--stdin");
  if (request.tty) args.push("--tty");
  if (container !== undefined) args.push("--container", container);
  return [...args, pod.metadata.name, "--", ...request.command];
}
