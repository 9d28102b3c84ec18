/**
 * One connection to the far side: a shell that runs one command after the other. It needs what nearly every image with a shell
 * has: a POSIX `sh`, and `find`, `stat`, `xargs`, `tar` and `dd` as coreutils, busybox and toybox bring them.
 *
 * A command is one line for `eval`, made of constants and numbers alone; paths and archives go to its standard input, of a
 * length that is said before. What it prints ends with a line of a random word and its exit status, so that whatever a command
 * prints, or no longer prints since it was killed, the next one is understood.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { messageOf, UserError } from "@kws/base/errors";
import type { Remote, RemoteProcess } from "./remote.ts";

/** The connection is lost, or did not come about: another attempt may do better. */
export class ConnectionLost extends Error {
  override name = "ConnectionLost";
}

/** Bytes for a command's standard input. */
export interface Payload {
  /** Exactly as many as the chunks hold together. */
  length: number;
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A command that makes no progress for so long has lost its connection: milliseconds. */
const patience = 60_000;
/** Exit code of the shell where the folder cannot be entered. */
const noFolder = 41;
/** Archives come in multiples of it, so that `dd` reads them in pieces of that size. */
export const blockSize = 4096;

/**
 * `cd` goes by the name each time: a folder that was removed or replaced is noticed. A line without the word is no command: it
 * would be what is left of a payload.
 */
const program = `mkdir -p -- "$1" 2>/dev/null
while IFS=' ' read -r word line; do
  [ "$word" = "$2" ] || exit 42
  cd -- "$1" || exit ${noFolder}
  eval "$line"
  printf '\\n%s %s\\n' "$2" "$?"
done`;

/** Which tools are missing, and which container it is: another one has another first process or another folder. */
const greeting = [
  `for tool in find stat xargs tar dd date; do command -v "$tool" >/dev/null || printf 'missing %s\\n' "$tool"; done`,
  `dd bs=1 count=0 iflag=fullblock </dev/null 2>/dev/null || printf 'missing dd with iflag=fullblock\\n'`,
  `printf 'user %s\\n' "$(id -u)"`,
  `printf 'container %s %s\\n' "$(sed 's/.*) //' /proc/1/stat 2>/dev/null | cut -d' ' -f20)" "$(stat -c '%d:%i' .)"`,
].join("; ");

export class Session {
  /** Begins what commands print about one thing each; by chance it occurs nowhere. */
  readonly word: string;
  /** Differs where the content of the folder is another one: a restarted container, a folder made anew. */
  container = "";
  /** The number of the user that commands run as. */
  user = "";
  /** Whether the connection is over. */
  hasEnded = false;
  /** Resolves when it is. */
  readonly ended: Promise<void>;
  readonly #process: RemoteProcess;
  readonly #output: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  #errors = "";
  #lastProgress = performance.now();

  constructor(process: RemoteProcess, word: string) {
    this.#process = process;
    this.word = word;
    this.ended = process.ended.then(() => {
      this.hasEnded = true;
    });
    this.#output = process.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    process.stderr.on("data", (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString("utf8")).slice(-4000);
    });
  }

  close(): void {
    this.#process.kill();
  }

  /** Runs a command and collects what it prints. */
  async run(command: string, payload?: Payload): Promise<{ status: number; output: Buffer }> {
    const chunks: Buffer[] = [];
    const status = await this.stream(command, payload, async (output) => {
      for await (const chunk of output) chunks.push(chunk);
    });
    return { status, output: Buffer.concat(chunks) };
  }

  /** Runs a command and hands on what it prints as it comes. Its exit status. */
  async stream(
    command: string,
    payload: Payload | undefined,
    consume: (output: AsyncIterable<Buffer>) => Promise<void>,
  ): Promise<number> {
    this.#lastProgress = performance.now();
    const timer = setInterval(() => {
      if (performance.now() - this.#lastProgress > patience) this.close();
    }, patience / 4);
    let status: number | undefined;
    try {
      const writing = this.#write(`${this.word} ${fed(command, payload)}\n`, payload);
      writing.catch(() => this.close());
      const output = this.#read((value) => (status = value));
      await consume(output);
      for await (const _chunk of output) {
        // What the consumer did not want.
      }
      await writing;
      if (status === undefined) throw this.#lost();
      return status;
    } finally {
      clearInterval(timer);
      // Whatever is left of this command would be taken for the next one's.
      if (status === undefined) this.close();
    }
  }

  async #write(line: string, payload: Payload | undefined): Promise<void> {
    const { stdin, ended } = this.#process;
    stdin.write(line);
    if (payload === undefined) return;
    let written = 0;
    for await (const chunk of payload.chunks) {
      written += chunk.length;
      if (!stdin.write(chunk)) await Promise.race([once(stdin, "drain"), ended]);
      if (stdin.destroyed) throw this.#lost();
      this.#lastProgress = performance.now();
    }
    if (written !== payload.length) throw new Error(`wrote ${written} of ${payload.length} bytes`);
  }

  /** What a command prints, up to the line that says how it ended. */
  async *#read(onStatus: (status: number) => void): AsyncGenerator<Buffer> {
    const mark = Buffer.from(`\n${this.word} `);
    for (;;) {
      const start = this.#rest.indexOf(mark);
      const end = start === -1 ? -1 : this.#rest.indexOf("\n", start + mark.length);
      if (end !== -1) {
        const before = this.#rest.subarray(0, start);
        const status = Number(this.#rest.subarray(start + mark.length, end).toString("latin1"));
        this.#rest = this.#rest.subarray(end + 1);
        if (before.length > 0) yield before;
        onStatus(status);
        return;
      }
      const keep = start === -1 ? Math.max(0, this.#rest.length - mark.length) : start;
      const chunk = this.#rest.subarray(0, keep);
      const rest = this.#rest.subarray(keep);
      this.#rest = rest;
      if (chunk.length > 0) yield chunk;
      const next = await this.#output.next();
      if (next.done === true) throw this.#lost();
      this.#lastProgress = performance.now();
      this.#rest = rest.length === 0 ? next.value : Buffer.concat([rest, next.value]);
    }
  }

  #lost(): ConnectionLost {
    return new ConnectionLost(this.#errors.trim() || "the connection ended");
  }
}

/** A command that gets its payload, and no byte of what follows; what it leaves unread is thrown away. */
function fed(command: string, payload: Payload | undefined): string {
  if (payload === undefined) return command;
  const { length } = payload;
  const [size, count] = length % blockSize === 0 ? [blockSize, length / blockSize] : [length, 1];
  const source = `dd bs=${size} count=${count} iflag=fullblock 2>/dev/null`;
  return `${source} | { ${command}; status=$?; cat >/dev/null; exit $status; }`;
}

/** Connects and looks at what is there. Throws `ConnectionLost`, or a `UserError` where another attempt would fail too. */
export async function openSession(remote: Remote, folder: string): Promise<Session> {
  const word = randomBytes(6).toString("hex");
  const process = await started(remote, ["sh", "-c", program, "kws-sync", folder, word]);
  const session = new Session(process, word);
  try {
    const { output } = await session.run(greeting);
    const lines = output.toString("utf8").split("\n");
    const told = (key: string): string[] =>
      lines.filter((line) => line.startsWith(`${key} `)).map((line) => line.slice(key.length + 1));
    const missing = told("missing");
    if (missing.length > 0) throw lacks(remote, missing.join(", "));
    session.container = told("container").join();
    session.user = told("user").join();
    return session;
  } catch (error) {
    session.close();
    if (!(error instanceof ConnectionLost)) throw error;
    const code = await process.ended;
    if (code === noFolder) {
      throw new UserError(`${remote.name}: the folder ${folder} cannot be made or entered`, {
        code: "permission",
        fix: "Name another folder with dev.workdir, or one that the container's user may write to.",
        cause: error,
      });
    }
    if (noShell.test(error.message)) throw lacks(remote, "a shell (sh)", error);
    throw error;
  }
}

async function started(remote: Remote, command: string[]): Promise<RemoteProcess> {
  try {
    return await remote.open(command);
  } catch (error) {
    throw new ConnectionLost(messageOf(error), { cause: error });
  }
}

/** As container runtimes say it. */
const noShell = /executable file not found|no such file or directory|"?sh"?: not found/i;

function lacks(remote: Remote, what: string, cause?: Error): UserError {
  return new UserError(`${remote.name}: files cannot be synchronised, since its image has no ${what}`, {
    code: "tool-missing",
    fix: "Name an image with a shell, find, stat, xargs, tar and dd for development: dev.image in kws.yaml.",
    cause,
  });
}
