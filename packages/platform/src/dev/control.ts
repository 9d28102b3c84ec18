/** What a session does inside of its dev container: start the command again, and run others beside it. */
import { createInterface } from "node:readline";
import { UserError } from "@kws/base/errors";
import { supervisorFolder } from "./supervisor.ts";
import type { Remote, RemoteProcess } from "./sync/remote.ts";

/** Passes on each line as a restart, and says so. It stays, so that a restart does not wait for a connection. */
const listener = `while read -r _; do kill -HUP "$(cat ${supervisorFolder}/pid)" && echo done; done`;
const answerMs = 5000;
/** What kubectl adds to the output of a command that failed. */
const kubectlEnd = /^command terminated with exit code \d+$/;

export class Control {
  readonly #remote: Remote;
  #open: { process: RemoteProcess; answers: AsyncIterator<string> } | undefined;

  constructor(remote: Remote) {
    this.#remote = remote;
  }

  /** Resolves when the container's process 1 knows. A connection that was lost meanwhile is made again, once. */
  async restart(): Promise<void> {
    const before = this.#open;
    if (before !== undefined && (await this.#tell())) return;
    this.close();
    if (await this.#tell()) return;
    this.close();
    throw new UserError(`the ${this.#remote.name} cannot be reached`, {
      fix: "Save again once the cluster answers; `kws service status` tells how the service is.",
    });
  }

  /** Runs a command to its end; answers its exit code, and undefined where the connection was lost. */
  async run(
    command: string[],
    workdir: string,
    onLine: (text: string) => void,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const process = await this.#remote.open([
      "sh",
      "-c",
      'cd "$1" && shift && exec "$@"',
      "kws-run",
      workdir,
      ...command,
    ]);
    const onAbort = () => process.kill();
    signal.addEventListener("abort", onAbort, { once: true });
    process.stdin.end();
    for (const stream of [process.stdout, process.stderr])
      createInterface({ input: stream }).on("line", (text) => {
        if (!kubectlEnd.test(text)) onLine(text);
      });
    try {
      return await process.ended;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  close(): void {
    this.#open?.process.kill();
    this.#open = undefined;
  }

  /** False where there is no answer. */
  async #tell(): Promise<boolean> {
    if (this.#open === undefined) {
      const process = await this.#remote.open(["sh", "-c", listener]);
      process.stderr.resume();
      const answers = createInterface({ input: process.stdout })[Symbol.asyncIterator]();
      this.#open = { process, answers };
    }
    const { process, answers } = this.#open;
    process.stdin.write("restart\n");
    return within(
      answerMs,
      answers.next().then(({ done }) => done !== true),
    );
  }
}

async function within(ms: number, answer: Promise<boolean>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), ms);
  try {
    return await Promise.race([answer, promise]);
  } finally {
    clearTimeout(timer);
  }
}
