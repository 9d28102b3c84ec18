/** What commands share that run a process of this machine in a service's place. */
import type { Cluster } from "@kws/platform/attach/cluster";
import { runLocally } from "@kws/platform/attach/local-run";
import type { Context } from "./context.ts";

export interface RunOptions {
  cluster: Cluster;
  service: string;
  namespace: string;
  container?: string | undefined;
  command: string[];
  proxy?: boolean;
  /** Ends the process. */
  signal: AbortSignal;
}

/** Ctrl-C is the process's: kws ends when it does. */
export function runInTerminal(ctx: Context, options: RunOptions): Promise<number> {
  const onNote = (message: string) => {
    if (!ctx.quiet) ctx.stderr.write(`${message}\n`);
  };
  return ctx.foreground(() =>
    runLocally({
      container: undefined,
      proxy: false,
      ...options,
      cwd: ctx.cwd,
      env: ctx.childEnv,
      platform: process.platform,
      uid: process.getuid?.(),
      onNote,
    }),
  );
}
