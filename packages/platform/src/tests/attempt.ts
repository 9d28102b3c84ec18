/** One run of a suite's pod: its output and its files come back however it ends. */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import type { StepHandle } from "@kws/base/steps";
import type { KubeObject } from "@kws/kube/object";
import { pods } from "@kws/kube/resources";
import { containerRemote } from "../dev/sync/remote.ts";
import type { Connection } from "../providers/provider.ts";
import { fieldManager } from "../services/labels.ts";
import type { NamespaceView } from "../stacks/view.ts";
import { podFault, stateOf, type Terminated } from "./fault.ts";
import { copyFolder } from "./files.ts";
import type { TestSuite } from "./levels.ts";
import { defaultReports, reportsContainer, testContainer, testPod } from "./objects.ts";
import { captureOutput } from "./output.ts";

export interface AttemptOptions {
  suite: TestSuite;
  namespace: string;
  pod: string;
  image: string;
  /** The Secret of its place. */
  secret: string;
  connection: Connection;
  /** Of the namespace, open. */
  view: NamespaceView;
  /** The path of the program. */
  kubectl: string;
  env: NodeJS.ProcessEnv;
  /** Gets `output.log` and `reports/`. */
  folder: string;
  step: StepHandle;
  /** Gets what the tests print as it comes. */
  onOutput?: (chunk: Uint8Array) => Promise<void>;
  signal: AbortSignal;
  /** For the tests themselves. */
  timeoutMs: number;
  /** For their container to start. */
  startMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export interface Attempt {
  /** Undefined where the tests did not end by themselves. */
  exitCode: number | undefined;
  /** What ended them, where it was not they: `timeout`, or Kubernetes' own word such as `OOMKilled`. */
  reason: string | undefined;
  durationMs: number;
  /** Of what they printed. */
  lastLines: string[];
  notes: string[];
}

/** After its time, and what starting and copying may take, the cluster ends the pod though nobody is there to do it. */
const graceMs = 600_000;
const copyMs = 60_000;
const shownLines = 20;

export async function attempt(options: AttemptOptions): Promise<Attempt> {
  const { namespace, connection, view, clock, signal, timeoutMs, folder, step } = options;
  const deadlineSeconds = Math.ceil((timeoutMs + options.startMs + graceMs) / 1000);
  const object = testPod({ ...options, name: options.pod, deadlineSeconds });
  await connection.client.create(pods, object, { fieldManager, signal });
  await started(options);

  const began = clock();
  const stopped = new AbortController();
  const output = captureOutput(
    connection,
    { namespace, pod: options.pod, container: testContainer },
    {
      file: join(folder, "output.log"),
      onLine: (text) => step.detail(text),
      onOutput: options.onOutput,
      signal: AbortSignal.any([signal, stopped.signal]),
    },
  );
  const reading = output.done.catch((error: unknown) => (stopped.signal.aborted ? undefined : error));
  const end = await view.until((): Terminated | "timeout" | undefined => {
    const pod = podOf(options);
    const ended = pod === undefined ? gone : endOf(pod);
    return ended ?? (clock() - began > timeoutMs ? "timeout" : undefined);
  }, signal);
  const durationMs = clock() - began;
  const late = setTimeout(() => stopped.abort(), end === "timeout" ? 0 : copyMs);
  const unread = await reading;
  clearTimeout(late);
  signal.throwIfAborted();
  if (unread instanceof Error) throw unread;

  const notes = end === gone ? [] : await copyReports(options);
  signal.throwIfAborted();
  if (output.cut()) notes.push("of the output, the beginning was kept in the file: it was too long");
  const lastLines = output.tail(shownLines);
  if (end === "timeout") return { exitCode: undefined, reason: "timeout", durationMs, lastLines, notes };
  const other = end.reason === "Completed" || end.reason === "Error" ? undefined : end.reason;
  return {
    exitCode: end === gone ? undefined : end.exitCode,
    reason: other,
    durationMs,
    lastLines,
    notes,
  };
}

const gone: Terminated = { exitCode: -1, reason: "Removed" };

function podOf({ view, pod }: AttemptOptions): KubeObject | undefined {
  return view.objects().pods.find(({ metadata }) => metadata.name === pod);
}

function endOf(pod: KubeObject): Terminated | undefined {
  const ended = stateOf(pod, testContainer)?.terminated;
  if (ended !== undefined) return ended;
  const { phase, reason = "Failed" } = (pod["status"] ?? {}) as { phase?: string; reason?: string };
  return phase === "Failed" ? { exitCode: -1, reason } : undefined;
}

/** The reasons of containers that never ran, of containerd, CRI-O and the Docker Engine. */
const neverRan = new Set(["StartError", "ContainerCannotRun", "ContainerStatusUnknown", "RunContainerError"]);

async function started(options: AttemptOptions): Promise<void> {
  const { suite, namespace, connection, view, clock, signal, startMs } = options;
  const deadline = clock() + startMs;
  const at = suite.service.file.at(["tests", suite.level]);
  await view.until(async () => {
    const pod = podOf(options);
    const state = pod === undefined ? undefined : stateOf(pod, testContainer);
    const ended = state?.terminated;
    if (state?.running !== undefined) return true;
    if (ended !== undefined && !neverRan.has(ended.reason ?? "")) return true;
    const about = { connection, namespace, at, what: "the tests cannot be started", now: clock() };
    const fault = pod === undefined ? undefined : await podFault(pod, testContainer, about);
    if (fault !== undefined) throw fault;
    if (clock() < deadline) return undefined;
    throw new UserError(`the tests did not start in ${startMs / 1000} s`, {
      code: "timeout",
      at,
      fix: `See \`kubectl describe pod --namespace ${namespace}\` with --keep, or wait longer with --timeout.`,
    });
  }, signal);
}

/** From the container beside the tests, which runs on. */
async function copyReports(options: AttemptOptions): Promise<string[]> {
  const { suite, view, namespace, connection, clock, signal } = options;
  const { reports = defaultReports } = suite.config;
  const deadline = clock() + copyMs;
  const there = await view.until(() => {
    const pod = podOf(options);
    const state = pod === undefined ? undefined : stateOf(pod, reportsContainer);
    if (state?.running !== undefined) return "running" as const;
    const waits = state?.waiting?.reason ?? "";
    const hopeless = pod === undefined || state?.terminated !== undefined || /Err|Invalid/.test(waits);
    return hopeless || clock() > deadline ? ("lost" as const) : undefined;
  }, signal);
  if (there === "lost") return ["the reports cannot be copied: that needs `sh` and `tar` in the image"];
  const remote = containerRemote({
    ...options,
    namespace,
    kubeconfig: connection.kubeconfig,
    pod: () => options.pod,
    container: reportsContainer,
  });
  const to = join(options.folder, "reports");
  return copyFolder(remote, reports, { to, signal: AbortSignal.any([signal, AbortSignal.timeout(copyMs)]) });
}
