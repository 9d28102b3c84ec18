import { describe, expect, test } from "vitest";
import { identify, type ProcessIdentity, signalProcess, waitForExit } from "./process.ts";
import { exec, ExecError, run } from "./exec.ts";

const env = { PATH: process.env["PATH"] };
const node = process.execPath;

test("arguments reach the program as they are, and input on standard input", async () => {
  const script = "process.stdin.pipe(process.stdout); console.error(JSON.stringify(process.argv.slice(1)))";
  const result = await exec(node, ["-e", script, "--", "$HOME; rm -rf x", "a b"], { env, input: "hello" });
  expect(result.stdout).toBe("hello");
  expect(JSON.parse(result.stderr)).toEqual(["$HOME; rm -rf x", "a b"]);
});

test("bytes go in and come out as they are", async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const script = "process.stdin.pipe(process.stdout); console.error('é')";
  const result = await exec(node, ["-e", script], { env, input: bytes, encoding: "latin1" });
  expect(Buffer.from(result.stdout, "latin1")).toEqual(Buffer.from(bytes));
  expect(result.stderr).toBe("é\n");
});

test("only the given environment is handed over", async () => {
  const result = await run(node, ["-p", "Object.keys(process.env).join()"], { env: { ONLY: "1" } });
  expect(result.stdout.trim()).toBe("ONLY");
});

test("run throws the exit code and the last words of the program", async () => {
  const failing = run(node, ["-e", "console.error('no such thing'); process.exit(3)"], { env });
  await expect(failing).rejects.toThrow(/exit code 3: no such thing/);
  await expect(failing).rejects.toBeInstanceOf(ExecError);
});

test("a program that is not there is a tool-missing error", async () => {
  await expect(exec("no-such-program-here", [], { env })).rejects.toMatchObject({ code: "tool-missing" });
});

test("an aborted signal ends the child", async () => {
  const controller = new AbortController();
  const child = exec(node, ["-e", "console.log('up'); setInterval(() => {}, 1000)"], {
    env,
    signal: controller.signal,
    onLine: () => controller.abort(new Error("stop")),
  });
  await expect(child).rejects.toThrow("stop");
});

describe("what an aborted child has started", () => {
  async function startedBy(detached: boolean): Promise<ProcessIdentity | undefined> {
    const spawns = `const child = require("node:child_process").spawn(process.execPath,
      ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" }); console.log(child.pid)`;
    const controller = new AbortController();
    let started: ProcessIdentity | undefined;
    const child = exec(node, ["-e", spawns], {
      env,
      detached,
      signal: controller.signal,
      onLine: (line) => {
        started = identify(Number(line));
        controller.abort(new Error("stop"));
      },
    });
    await expect(child).rejects.toThrow("stop");
    return started;
  }

  test("does not delay its end", async () => {
    const started = await startedBy(false);
    expect(started).toBeDefined();
    if (started !== undefined) signalProcess(started, "SIGKILL");
  });

  test("ends with it where it is detached", async () => {
    const started = await startedBy(true);
    expect(started === undefined || (await waitForExit(started, 10_000))).toBe(true);
  });
});

test("one that takes too long is ended", async () => {
  const late = exec(node, ["-e", "setInterval(() => {}, 1000)"], { env, timeoutMs: 100 });
  await expect(late).rejects.toMatchObject({ code: "timeout" });
});

test("one that does not read its input ends as it says", async () => {
  const result = await exec(node, ["-e", "process.exit(3)"], { env, input: new Uint8Array(2 ** 20) });
  expect(result.exitCode).toBe(3);
});

test("lines come whole, whatever pieces they were written in, the last one without its end too", async () => {
  const lines: string[] = [];
  const script = "const { writeSync: w } = fs; w(1, 'a'); w(1, 'bé\\r\\n\\nc'); w(1, 'd')";
  await exec(node, ["-e", script], { env, onLine: (line) => lines.push(line) });
  expect(lines).toEqual(["abé", "", "cd"]);
});
