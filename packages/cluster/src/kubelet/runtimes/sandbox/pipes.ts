/**
 * Real pipes for containers' standard streams. Node connects children by socket pairs, and a program that opens
 * /dev/stdout or /dev/stderr by name gets ENXIO on those; a named pipe whose name is gone at once behaves as it should.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, constants, openSync, unlinkSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemPath } from "./tools.ts";

const run = promisify(execFile);

/** Makes named pipes, several at once: one needs a process to make it. */
export class PipeMaker {
  readonly #folder: string;
  readonly #batch: number;
  #ready: string[] = [];
  #making: Promise<void> | undefined;

  constructor(folder: string, batch: number) {
    this.#folder = folder;
    this.#batch = batch;
  }

  /** The child writes to `childEnd`, which the caller closes after the spawn; `stream` reads it. */
  async output(): Promise<{ stream: Socket; childEnd: number }> {
    const path = await this.#take();
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const childEnd = openSync(path, constants.O_WRONLY);
    unlinkSync(path);
    return { stream: new Socket({ fd, readable: true, writable: false }), childEnd };
  }

  /** The child reads from `childEnd`, which the caller closes after the spawn; `stream` writes to it. */
  async input(): Promise<{ stream: Socket; childEnd: number }> {
    const path = await this.#take();
    const both = openSync(path, constants.O_RDWR);
    const childEnd = openSync(path, constants.O_RDONLY);
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    closeSync(both);
    unlinkSync(path);
    return { stream: new Socket({ fd, readable: false, writable: true }), childEnd };
  }

  async #take(): Promise<string> {
    for (;;) {
      const path = this.#ready.pop();
      if (path) return path;
      this.#making ??= this.#make().finally(() => (this.#making = undefined));
      await this.#making;
    }
  }

  async #make(): Promise<void> {
    const name = () => join(this.#folder, `pipe-${randomBytes(8).toString("hex")}`);
    const paths = Array.from({ length: this.#batch }, name);
    await run("mkfifo", ["-m", "600", ...paths], { env: { PATH: systemPath } });
    this.#ready.push(...paths);
  }
}
