/** What the API server asks of a node for the subresources `log`, `exec`, `attach` and `portforward` of a pod, and for metrics. */
import type { Duplex } from "node:stream";
import type { KubeObject } from "@kws/kube/object";
import type { ExecSession } from "./runtime.ts";
import type { Usage } from "./usage.ts";

export interface LogOptions {
  container?: string;
  follow?: boolean;
  previous?: boolean;
  sinceSeconds?: number;
  /** RFC 3339. */
  sinceTime?: string;
  timestamps?: boolean;
  tailLines?: number;
  limitBytes?: number;
  /** Ends a followed log. */
  signal?: AbortSignal;
}

export interface ExecOptions {
  container?: string;
  command: string[];
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** Every method throws an `ApiError` where the pod or container is not in a state that allows it. */
export interface NodeStreams {
  logs(pod: KubeObject, options: LogOptions): Promise<AsyncIterable<Uint8Array>>;
  exec(pod: KubeObject, options: ExecOptions): Promise<ExecSession>;
  attach(pod: KubeObject, options: Omit<ExecOptions, "command">): Promise<ExecSession>;
  portForward(pod: KubeObject, port: number): Promise<Duplex>;
  usage(): Promise<Usage>;
}
