/** Services that are developed under their debuggers: a port of this machine leads to each, and the editor knows about it. */
import { relative } from "node:path";
import { clusterOf } from "@kws/platform/attach/cluster";
import { type Forward, openForward } from "@kws/platform/attach/forward";
import { debugPods } from "@kws/platform/dev/debug/backend";
import { type Editor, writeEditors } from "@kws/platform/dev/debug/editors";
import type { DevEvent } from "@kws/platform/dev/events";
import type { DevPlan } from "@kws/platform/dev/plan";
import type { ProjectService } from "@kws/platform/project/workspace";
import type { Connection } from "@kws/platform/providers/provider";
import type { Context } from "./context.ts";

export interface Debugged {
  service: ProjectService;
  namespace: string;
  plan: DevPlan;
}

export interface DebuggingOptions {
  connection: Connection;
  /** The folder of the workspace. */
  workspace: string;
  editor: Editor | undefined;
  /** The path of the program. */
  kubectl: string;
  onEvent: (event: DevEvent) => void;
}

/** For those of the services that have a debugger. The forwards stay open until they are disposed of. */
export async function openDebuggers(
  ctx: Context,
  services: Debugged[],
  { connection, workspace, editor, kubectl, onEvent }: DebuggingOptions,
): Promise<AsyncDisposable> {
  const forwards = new AsyncDisposableStack();
  try {
    const cluster = await clusterOf(connection);
    // One after the other, so that the ports of the services are the same the next time.
    for (const { service, namespace, plan } of services) {
      if (plan.debugger === undefined) continue;
      const { name, dir } = service;
      const { language, port } = plan.debugger;
      const forward = port === undefined ? undefined : await open(port);
      const { path, context } = connection.kubeconfig;
      const written = await writeEditors(
        editor,
        { workspace, service: dir },
        {
          service: name,
          language,
          port: forward?.port,
          remote: plan.workdir,
          exec: [
            kubectl,
            `--kubeconfig=${path}`,
            ...(context === undefined ? [] : [`--context=${context}`]),
            `--namespace=${namespace}`,
            "exec",
            "--stdin",
            `--container=${plan.container}`,
            `${plan.kind.toLowerCase()}/${plan.name}`,
            "--",
          ],
        },
      );
      const files = written.map((file) => relative(ctx.cwd, file));
      onEvent({
        service: name,
        kind: "debug",
        language,
        ...(forward === undefined ? {} : { address: `127.0.0.1:${forward.port}` }),
        files,
      });

      async function open(remote: number): Promise<Forward> {
        const target = { service: name, namespace, kubeService: undefined, port: remote };
        const opened = await openForward({
          cluster,
          target,
          findPods: (signal) => debugPods(connection.client, { ...target, port: remote }, signal),
          address: "127.0.0.1",
          localPort: undefined,
          preferred: remote,
          signal: ctx.signal,
          // Editors say themselves that they wait.
          onState: () => {},
        });
        return forwards.use(opened);
      }
    }
    return forwards;
  } catch (error) {
    await forwards.disposeAsync();
    throw error;
  }
}
