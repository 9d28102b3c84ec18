/**
 * A tool's programs in a folder for the PATH: they answer as recorded in `testdata`, and refuse every command that `replays.ts`
 * does not name, so that a wrong argument fails the test. The API server behind them is real.
 */
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { ToolName } from "../../project/provider-names.ts";
import { replays, type State } from "./replays.ts";

export interface FakeTool {
  /** For the PATH; there is nothing else in it. */
  bin: string;
  setState(state: State): Promise<void>;
  /** The commands so far, and from now on others. */
  calls(): Promise<string[]>;
  /** Commands that nobody recorded. */
  unexpected(): Promise<string>;
}

/** `kubeconfig` is that of the cluster which the tool pretends to have made. */
export async function fakeTool(name: ToolName, folder: string, kubeconfig: string): Promise<FakeTool> {
  const { initially, context, programs } = replays[name];
  const bin = join(folder, "bin");
  await mkdir(bin, { recursive: true });
  // `docker` leads to the nodes of most; `sudo` leaves its own option out.
  for (const program of new Set([...Object.keys(programs), "docker"])) {
    await executable(join(bin, program), script(name, program, folder));
  }
  await executable(join(bin, "sudo"), 'shift; exec "$@"');
  const text = await readFile(kubeconfig, "utf8");
  await writeFile(join(folder, "kubeconfig"), renamed(text, context), { mode: 0o600 });
  const deaf = text.replace(/server: .*/, "server: https://127.0.0.1:1");
  await writeFile(join(folder, "kubeconfig-hung"), renamed(deaf, context), { mode: 0o600 });
  const setState = (state: State) => writeFile(join(folder, "state"), state);
  const read = async (file: string) => {
    const path = join(folder, file);
    return existsSync(path) ? await readFile(path, "utf8") : "";
  };
  await setState(initially);
  return {
    bin,
    setState,
    async calls() {
      const lines = (await read("calls")).split("\n").filter((line) => line !== "");
      await writeFile(join(folder, "calls"), "");
      return lines;
    },
    unexpected: () => read("unexpected"),
  };
}

/** A shell's script rather than Node's, since it is started hundreds of times. */
function script(tool: ToolName, program: string, folder: string): string {
  const { folder: answers, programs } = replays[tool];
  const testdata = fileURLToPath(new URL(`../testdata/${answers}/`, import.meta.url));
  const node = fileURLToPath(new URL("fake-node.ts", import.meta.url));
  const cases = (programs[program] ?? []).map(({ args, stdout, exit = {}, to, writesKubeconfig }) => {
    const pattern = args.map((word) => (word === "*" ? word : quoted(word))).join("\\ ");
    const print = (file: string) =>
      `cat ${file === "kubeconfig" ? '"$kubeconfig"' : quoted(join(testdata, file))};`;
    const byState = Object.entries(typeof stdout === "object" ? stdout : {});
    return [
      `${pattern === "" ? "''" : pattern})`,
      typeof stdout === "string" ? print(stdout) : "",
      `case $state in ${byState.map(([state, file]) => `${state}) ${print(file)};`).join(" ")} esac;`,
      writesKubeconfig === true ? 'cp "$kubeconfig" "$KUBECONFIG";' : "",
      to === undefined ? "" : `printf ${to} > state;`,
      ...Object.entries(exit).map(([state, code]) => `[ $state = ${state} ] && exit ${code};`),
      "exit 0;;",
    ].join(" ");
  });
  return [
    "PATH=/usr/bin:/bin",
    `cd ${quoted(folder)}`,
    "state=$(cat state)",
    "kubeconfig=kubeconfig",
    "[ $state = hung ] && kubeconfig=kubeconfig-hung",
    `echo "${program} $*" >> calls`,
    'case "$*" in',
    ...cases,
    "esac",
    `exec ${quoted(process.execPath)} ${quoted(node)} ${program} "$@"`,
  ].join("\n");
}

const quoted = (word: string) => `'${word}'`;

async function executable(path: string, script: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

interface Config {
  "current-context": string;
  contexts: { name: string }[];
}

function renamed(text: string, name: string): string {
  const config = parse(text) as Config;
  config["current-context"] = name;
  for (const context of config.contexts) context.name = name;
  return JSON.stringify(config);
}
