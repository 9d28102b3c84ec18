/** postStart and preStop handlers (https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/). */
import { runCommand } from "./command.ts";
import { dialOnce, httpGet } from "./dial.ts";
import type { Handler } from "./pod.ts";
import { resolvePort, type ProbeTarget } from "./probes.ts";
import { pause } from "./time.ts";

/** Runs the handler to its end; throws when it fails or is not done in time. */
export async function runHook(
  handler: Handler,
  target: ProbeTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { runtime, container, containerId, host } = target;
  const dial = runtime.dial.bind(runtime);
  if (handler.exec) {
    const argv = handler.exec.command ?? [];
    const { code, output } = await runCommand(runtime, containerId, argv, timeoutMs, signal);
    if (code !== 0) throw new Error(`command '${argv.join(" ")}' exited with ${code}: ${output}`);
  } else if (handler.httpGet) {
    const port = resolvePort(handler.httpGet.port, container);
    const { status } = await httpGet(dial, handler.httpGet.host ?? host, port, handler.httpGet, timeoutMs);
    if (status >= 400) throw new Error(`HTTP handler failed with status code ${status}`);
  } else if (handler.tcpSocket) {
    const port = resolvePort(handler.tcpSocket.port, container);
    await dialOnce(dial, handler.tcpSocket.host ?? host, port, timeoutMs);
  } else if (handler.sleep) {
    await pause(Math.min(handler.sleep.seconds * 1000, timeoutMs), signal);
  }
}
