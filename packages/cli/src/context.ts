/** The world as a command sees it: small, lazy, and handed in, so that tests can hand in another. */
import type { Logger } from "@kws/base/logger";
import type { Steps } from "@kws/base/steps";
import type { Project } from "@kws/platform/project/workspace";
import type { Locations } from "@kws/platform/project/locations";
import type { Holder } from "@kws/platform/services/lease";
import type { Connection, Provider } from "@kws/platform/providers/provider";
import type { Globals } from "./command.ts";
import type { Style } from "./style.ts";

export interface Output {
  write(content: string | Uint8Array): unknown;
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

export interface World {
  stdin: NodeJS.ReadStream;
  stdout: Output;
  stderr: Output;
  env: NodeJS.ProcessEnv;
  cwd: string;
  home: string;
  version: string;
  /** The Node that runs kws; commands that it starts find it first. */
  nodePath: string;
  /** The file of kws itself, which that Node runs. */
  program: string;
  signal: AbortSignal;
  /** Leaves Ctrl-C to a program that has the terminal while this runs, such as an editor. */
  foreground: <T>(run: () => Promise<T>) => Promise<T>;
  /** A monotonic clock in milliseconds. */
  now: () => number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** Who runs kws, for locks that others see. */
  holder: Holder;
}

export interface Context extends World {
  globals: Globals;
  locations: Locations;
  style: Style;
  /** What child processes get: the caller's own, with the Node that runs kws first on the PATH. */
  childEnv: NodeJS.ProcessEnv;
  /** No progress. */
  quiet: boolean;
  /** What `--log-level debug` shows. */
  log: Logger;
  /** May the person be asked? */
  interactive: boolean;
  /** The nearest workspace; throws where there is none. */
  project(): Promise<Project>;
  /** Like `project`, but undefined where there is none. */
  findProject(): Promise<Project | undefined>;
  /** The provider by flags, workspace and user; `cluster` is the name of one of its clusters. */
  provider(cluster?: string): Promise<Provider>;
  /** Another cluster that exists, by a context of the user's kubeconfig, which must be allowed. */
  contextProvider(context: string): Promise<Provider>;
  /** Open to the provider's cluster, which must run. Closed when the command ends. */
  connect(provider?: Provider): Promise<Connection>;
  /** Steps that show themselves on standard error. */
  steps(): Steps;
  /** Asks for a yes; true with `--yes`, an error without a terminal. */
  confirm(question: string): Promise<boolean>;
}
