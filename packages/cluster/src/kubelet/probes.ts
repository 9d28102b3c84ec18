/** Startup, readiness and liveness probes (https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/). */
import { messageOf } from "@kws/base/errors";
import type { Standstill } from "../standstill.ts";
import { runCommand } from "./command.ts";
import { dialOnce, httpGet } from "./dial.ts";
import { checkHealth } from "./grpc.ts";
import type { PodContainer, Probe } from "./pod.ts";
import { pause } from "./time.ts";
import type { Runtime } from "./runtime.ts";

export type ProbeKind = "startup" | "readiness" | "liveness";

export interface ProbeTarget {
  runtime: Runtime;
  containerId: string;
  container: PodContainer;
  /** The pod's address. */
  host: string;
  standstill: Standstill;
}

export interface ProbeCallbacks {
  /** The startup probe has passed for the first time. */
  onStarted(): void;
  onReady(ready: boolean): void;
  /** A startup or liveness probe has given up on the container. */
  onDead(kind: "startup" | "liveness", probe: Probe): void;
  /** One failed attempt, for the `Unhealthy` event. */
  onFailure(kind: ProbeKind, message: string): void;
}

/** Probes one run of a container until the signal aborts. A container without probes is started and ready at once. */
export function startProbes(target: ProbeTarget, callbacks: ProbeCallbacks, signal: AbortSignal): void {
  const { startupProbe, readinessProbe, livenessProbe } = target.container;
  const afterStartup = () => {
    if (signal.aborted) return;
    callbacks.onStarted();
    if (readinessProbe) {
      void loop("readiness", readinessProbe, target, callbacks, signal, (ok) => {
        callbacks.onReady(ok);
        return true;
      });
    } else callbacks.onReady(true);
    if (livenessProbe) {
      void loop("liveness", livenessProbe, target, callbacks, signal, (ok) => {
        if (!ok) callbacks.onDead("liveness", livenessProbe);
        return ok;
      });
    }
  };
  if (startupProbe === undefined) {
    afterStartup();
    return;
  }
  void loop("startup", startupProbe, target, callbacks, signal, (ok) => {
    if (ok) afterStartup();
    else callbacks.onDead("startup", startupProbe);
    return false;
  });
}

/** Calls back when the verdict is reached or changes; goes on while the callback answers true. */
async function loop(
  kind: ProbeKind,
  probe: Probe,
  target: ProbeTarget,
  callbacks: ProbeCallbacks,
  signal: AbortSignal,
  onVerdict: (ok: boolean) => boolean,
): Promise<void> {
  const periodMs = (probe.periodSeconds ?? 10) * 1000;
  const successThreshold = probe.successThreshold ?? 1;
  const failureThreshold = probe.failureThreshold ?? 3;
  if (probe.initialDelaySeconds && !(await pause(probe.initialDelaySeconds * 1000, signal))) return;
  let verdict: boolean | undefined = kind === "liveness" ? true : undefined;
  let same = 0;
  let last: boolean | undefined;
  // Until the first success, look more often than asked: a server that needs 300 ms to listen is ready then, and not a
  // whole period later. Failures of these extra looks count for nothing.
  let extraMs = kind === "liveness" ? periodMs : 50;
  let nextRegular = performance.now();
  while (!signal.aborted) {
    const regular = performance.now() >= nextRegular - 1;
    if (regular) nextRegular = performance.now() + periodMs;
    const { standstill } = target;
    const before = standstill.count;
    const failure = await attempt(probe, target, signal);
    await standstill.ended();
    if (signal.aborted) return;
    if (standstill.count !== before) continue;
    const ok = failure === undefined;
    if (regular || ok) {
      if (!ok) callbacks.onFailure(kind, failure);
      same = ok === last ? same + 1 : 1;
      last = ok;
      if (ok) extraMs = periodMs;
      if (same >= (ok ? successThreshold : failureThreshold) && verdict !== ok) {
        verdict = ok;
        if (!onVerdict(ok)) return;
      }
    }
    const wait = Math.max(0, Math.min(extraMs, nextRegular - performance.now()));
    extraMs = Math.min(extraMs * 1.5, periodMs);
    if (!(await pause(wait, signal))) return;
  }
}

/** Undefined when the container is well, otherwise what is wrong, in upstream's words. */
async function attempt(probe: Probe, target: ProbeTarget, signal: AbortSignal): Promise<string | undefined> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  const { runtime, container, host } = target;
  try {
    if (probe.exec) {
      const argv = probe.exec.command ?? [];
      const { code, output } = await runCommand(runtime, target.containerId, argv, timeoutMs, signal);
      return code === 0 ? undefined : output;
    }
    if (probe.httpGet) {
      const port = resolvePort(probe.httpGet.port, container);
      const to = probe.httpGet.host ?? host;
      const dial = runtime.dial.bind(runtime);
      const { status } = await httpGet(dial, to, port, probe.httpGet, timeoutMs);
      return status >= 200 && status < 400 ? undefined : `HTTP probe failed with statuscode: ${status}`;
    }
    if (probe.tcpSocket) {
      const port = resolvePort(probe.tcpSocket.port, container);
      await dialOnce(runtime.dial.bind(runtime), probe.tcpSocket.host ?? host, port, timeoutMs);
      return undefined;
    }
    if (probe.grpc) {
      const connection = await runtime.dial(host, probe.grpc.port);
      return await checkHealth(connection, `${host}:${probe.grpc.port}`, probe.grpc.service ?? "", timeoutMs);
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** A port by number or by the name that the container gives it. */
export function resolvePort(port: number | string, container: PodContainer): number {
  const number = Number(port);
  if (Number.isInteger(number) && number > 0) return number;
  const named = container.ports?.find(({ name }) => name === port);
  if (named === undefined)
    throw new Error(`couldn't find port: ${String(port)} of container ${container.name}`);
  return named.containerPort;
}
