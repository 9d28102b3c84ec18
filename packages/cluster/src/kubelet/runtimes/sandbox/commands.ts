/** Short runs of system programs from within the agent. */
import { spawn } from "node:child_process";
import { systemPath } from "./tools.ts";

/** Resolves with stdout; rejects with what the program said on stderr when it fails. `fd` is its descriptor 3. */
export async function runTool(
  program: string,
  args: string[],
  options: { input?: string; fd?: number } = {},
): Promise<string> {
  const more = options.fd === undefined ? [] : [options.fd];
  const child = spawn(program, args, {
    env: { PATH: systemPath, LC_ALL: "C" },
    stdio: ["pipe", "pipe", "pipe", ...more],
  });
  let [out, err] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
  // A program that ends before it has read its input shows in its exit code.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(options.input ?? "");
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`${program}: ${err.trim() || `exit code ${String(code)}`}`);
  return out;
}
