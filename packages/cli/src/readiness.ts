/** For commands that change a service's workloads and go on until it is ready again. */
import type { StepHandle } from "@kws/base/steps";
import type { Connection } from "@kws/platform/providers/provider";
import { untilReady } from "@kws/platform/stacks/ready";
import { NamespaceView } from "@kws/platform/stacks/view";
import type { Context } from "./context.ts";
import { defaultTimeoutMs } from "./waiting.ts";

/** Throws `timeout` where it is not ready in time, or what is known to keep it from that. */
export async function readyAgain(
  { signal, clock }: Context,
  { service, stack, namespace }: { service: string; stack: string; namespace: string },
  options: { connection: Connection; step: StepHandle; timeoutMs: number | undefined },
): Promise<void> {
  const { connection, step, timeoutMs = defaultTimeoutMs } = options;
  await using view = new NamespaceView(connection.client, namespace);
  await view.open();
  const place = { name: stack, namespace };
  await untilReady({ service, stack: place, connection, view, step, signal, clock, timeoutMs });
}
