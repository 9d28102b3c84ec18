import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "@kws/base/errors";
import { Steps } from "@kws/base/steps";
import { tempDir } from "@kws/base/tempdir";
import { Defaults } from "@kws/platform/project/schema";
import { describe, expect, test } from "vitest";
import { defineCommand, globalOptions, type OptionSpec } from "./command.ts";
import { commands, topics } from "./commands.ts";
import type { World } from "./context.ts";
import { complete, completionScript, shells } from "./completion.ts";
import { describeFailure, renderFailure } from "./failure.ts";
import { printResult, renderTable } from "./output.ts";
import { parseCommand } from "./parse.ts";
import { findCommand, runProgram } from "./program.ts";
import { plainReporter, renderCriticalPath } from "./progress.ts";
import { openWorkspaces, withDefaults } from "./settings.ts";
import { createStyle, printable, wantsColor } from "./style.ts";

const plain = createStyle(false);

function world(cwd: string, env: NodeJS.ProcessEnv = {}): World & { out: () => string; err: () => string } {
  const written = { out: "", err: "" };
  return {
    stdin: process.stdin,
    stdout: { write: (text) => (written.out += text) },
    stderr: { write: (text) => (written.err += text) },
    env: { KWS_HOME: join(cwd, ".kws"), PATH: process.env["PATH"], CI: "1", ...env },
    cwd,
    home: cwd,
    version: "9.9.9",
    nodePath: process.execPath,
    program: "",
    signal: new AbortController().signal,
    foreground: (run) => run(),
    now: () => 0,
    clock: () => 0,
    holder: { user: "someone", host: "here", pid: process.pid },
    out: () => written.out,
    err: () => written.err,
  };
}

// It loads what every command imports.
test(
  "every file under commands is in the map, and every command describes itself",
  { timeout: 60_000 },
  async () => {
    const root = fileURLToPath(new URL("./commands/", import.meta.url));
    const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith(".ts"));
    expect(files.map((file) => file.replace(/\.ts$/, "").replaceAll("/", " ")).sort()).toEqual(
      Object.keys(commands).sort(),
    );
    for (const [path, load] of Object.entries(commands)) {
      const { command } = await load();
      expect(command.summary, path).toMatch(/^[a-z]/);
      expect(command.examples.length, path).toBeGreaterThan(0);
      for (const example of command.examples) expect(example).toContain(`kws ${path}`);
    }
  },
);

test("the help of kws tells every command under one topic", () => {
  const words = Object.keys(commands).map((path) => path.split(" ")[0] ?? "");
  expect(Object.values(topics).flat().sort()).toEqual([...new Set(words)].sort());
});

describe("parsing", () => {
  const command = defineCommand({
    summary: "test",
    args: [{ name: "name", description: "", required: true }],
    options: {
      follow: { type: "boolean", description: "" },
      since: { type: "duration", value: "duration", description: "" },
      tail: { type: "number", value: "lines", description: "" },
      port: { type: "number", value: "port", min: 1, max: 65_535, description: "" },
    },
    examples: [],
    run: async () => {},
  });
  const options = (words: string[], env = {}) => {
    const parsed = parseCommand("test", command, words, env);
    if (parsed.kind !== "run") throw new Error("help");
    return parsed.input.options;
  };

  test("a flag beats its variable", () => {
    expect(options(["x", "--since", "1m"], { KWS_SINCE: "9m", KWS_FOLLOW: "1", KWS_OUTPUT: "json" })).toEqual(
      {
        since: 60_000,
        follow: true,
        output: "json",
      },
    );
    expect(options(["x"], { KWS_FOLLOW: "false", KWS_TAIL: "" })).toEqual({ follow: false });
  });

  test.each([
    [["x", "--tail", "many"], /--tail must be a number, 0 or more, not "many"/],
    [["x", "--port", "99999"], /--port must be a number, from 1 to 65535, not "99999"/],
    [["x", "--port", "0"], /--port must be a number, from 1 to 65535/],
    [["x", "--file", "--follow"], /--file needs a path, not "--follow"/],
    [["x", "--since", "soon"], /not a duration/],
    [["x", "-o", "xml"], /Allowed choices/],
    [["x", "--folow"], /--follow/],
    [[], /missing required argument/],
    [["x", "y"], /too many arguments/],
  ])("%j is a usage error", (words, message) => {
    expect(() => options(words)).toThrow(message);
    expect(() => options(words)).toThrow(expect.objectContaining({ code: "usage" }));
  });

  test.each([
    { words: ["x", "-f"], told: /argument missing/ },
    { words: ["x", "-f", "--quiet"], told: /--file needs a path/ },
  ])("$words, where -f was meant to follow, names --follow", ({ words, told }) => {
    expect(() => options(words)).toThrow(told);
    expect(() => options(words)).toThrow(
      expect.objectContaining({ code: "usage", fix: "-f is --file; did you mean --follow?" }),
    );
  });

  test("words after -- are arguments as they are", () => {
    const found = findCommand(["service", "exec", "a"]);
    expect(found?.path).toBe("service exec");
    const many = { ...command, args: [{ name: "all", description: "", variadic: true }] };
    const parsed = parseCommand("t", many, ["a", "--", "-l", "--since"], {});
    expect(parsed.kind === "run" && parsed.input.args).toEqual(["a", "-l", "--since"]);
  });
});

describe("an option", () => {
  const command = defineCommand({
    summary: "test",
    options: {
      timeout: { type: "duration", value: "duration", description: "" },
      tail: { type: "number", value: "lines", description: "" },
    },
    examples: [],
    run: async () => {},
  });

  async function settled(root: string, words: string[] = [], env: NodeJS.ProcessEnv = {}) {
    const parsed = parseCommand("test", command, words, env);
    if (parsed.kind !== "run") throw new Error("help");
    return withDefaults(command, parsed.input.options, openWorkspaces(root, undefined), join(root, "config"));
  }

  test("comes from its flag, else its variable, the workspace, the user's settings", async () => {
    await using dir = await tempDir("kws-settings");
    const put = async (path: string, tail: number, more = "") => {
      await mkdir(join(dir.path, path, ".."), { recursive: true });
      await writeFile(join(dir.path, path), `defaults: { tail: ${tail}${more} }\n`);
    };
    expect(await settled(dir.path)).toEqual({});
    await put("config/config.yaml", 4, ", timeout: 1m, output: yaml");
    expect(await settled(dir.path)).toEqual({ tail: 4, timeout: 60_000, output: "yaml" });
    await writeFile(join(dir.path, "kws.yaml"), "services: {}\ndefaults: { tail: 3, log-level: warn }\n");
    const user = { timeout: 60_000, output: "yaml", "log-level": "warn" };
    expect(await settled(dir.path)).toEqual({ ...user, tail: 3 });
    expect(await settled(dir.path, [], { KWS_TAIL: "2" })).toEqual({ ...user, tail: 2 });
    expect(await settled(dir.path, ["--tail", "1"], { KWS_TAIL: "2" })).toEqual({ ...user, tail: 1 });
  });

  test("that a file cannot set is refused there, and files with faults are left to those who need them", async () => {
    await using dir = await tempDir("kws-settings");
    const path = join(dir.path, "kws.yaml");
    await writeFile(path, "services: {}\ndefaults:\n  timeout: soon\n");
    expect(await settled(dir.path)).toEqual({});
    await expect(openWorkspaces(dir.path, undefined).project()).rejects.toMatchObject({
      code: "config",
      at: `${path}:3:12`,
    });
  });

  test("of every name under defaults exists, and takes what the schema lets through", async () => {
    const all = await Promise.all(Object.values(commands).map((load) => load()));
    const options: OptionSpec[][] = Object.keys(Defaults.properties).map((name) =>
      [globalOptions, ...all.map(({ command: { options } }) => options)].flatMap(
        (specs) => Object.entries<OptionSpec>(specs).find(([option]) => option === name)?.[1] ?? [],
      ),
    );
    for (const specs of options) expect(specs.length).toBeGreaterThan(0);
    const choices = (name: "output" | "log-level") => Defaults.properties[name].anyOf.map((one) => one.const);
    expect(choices("output")).toEqual(globalOptions.output.choices);
    expect(choices("log-level")).toEqual(globalOptions["log-level"].choices);
  });
});

describe("a run", () => {
  test("with an unknown command suggests one and exits with 2", async () => {
    const here = world("/");
    expect(await runProgram(["stakc", "start"], here)).toBe(2);
    expect(here.err()).toContain('Did you mean "stack"?');
    expect(here.out()).toBe("");
  });

  test("with a service in the place of -f's file names --follow", async () => {
    await using dir = await tempDir("kws-cli");
    const here = world(dir.path);
    expect(await runProgram(["service", "logs", "-f", "orders"], here)).toBe(5);
    expect(here.err()).toContain("did you mean --follow?");
  });

  test("with a service in the place of a stack names both", async () => {
    await using dir = await tempDir("kws-cli");
    await mkdir(join(dir.path, "orders"));
    await writeFile(join(dir.path, "orders/kws.yaml"), "name: orders\n");
    const yaml = "services: { orders: { path: ./orders } }\nstacks: { empty: { services: [] }, shop: {} }\n";
    await writeFile(join(dir.path, "kws.yaml"), yaml);
    const here = world(dir.path);
    expect(await runProgram(["stack", "start", "orders", "more"], here)).toBe(5);
    expect(here.err()).toContain("Run `kws stack start shop orders more`.");
  });

  test("of a group alone lists its commands", async () => {
    const here = world("/");
    expect(await runProgram(["stack"], here)).toBe(2);
    expect(here.out()).toContain("kws stack start");
    expect(here.out()).not.toContain("kws cluster");
  });

  test("of a group within a group lists its commands, and a slip names the nearest", async () => {
    const here = world("/");
    expect(await runProgram(["secrets", "rollout"], here)).toBe(2);
    expect(here.out()).toContain("kws secrets rollout start");
    expect(here.out()).not.toContain("kws secrets set");
    const slips = [
      [["secrets", "rolout"], "secrets rollout"],
      [["secrets", "rollout", "nxt"], "secrets rollout next"],
    ] as const;
    for (const [words, meant] of slips) {
      const there = world("/");
      expect(await runProgram([...words], there)).toBe(2);
      expect(there.err()).toContain(`Did you mean "${meant}"?`);
    }
  });

  test("on a kws.yaml with a fault names the place and exits with 4, as JSON where that is asked", async () => {
    await using dir = await tempDir("kws-cli");
    await writeFile(join(dir.path, "kws.yaml"), "name: shop\nservises: {}\nstacks: {}\n");
    const people = world(dir.path);
    expect(await runProgram(["stack", "start"], people)).toBe(4);
    expect(people.err().split("\n")).toEqual([
      'error: unknown key "servises"',
      `   at: ${dir.path}/kws.yaml:2:1`,
      '  fix: Did you mean "services"?',
      "",
    ]);
    const program = world(dir.path);
    expect(await runProgram(["stack", "start", "-o", "json"], program)).toBe(4);
    expect(JSON.parse(program.err())).toEqual({
      code: "config",
      message: 'unknown key "servises"',
      at: `${dir.path}/kws.yaml:2:1`,
      fix: 'Did you mean "services"?',
    });
    expect(await readdir(dir.path)).toEqual(["kws.yaml"]);
  });

  test("that would lose data and cannot ask wants --yes", async () => {
    await using dir = await tempDir("kws-cli");
    const here = world(dir.path);
    expect(await runProgram(["stack", "remove", "shop"], here)).toBe(2);
    expect(here.err()).toContain("--yes");
  });

  test("on a context that is not allowed is refused and says how to allow it", async () => {
    await using dir = await tempDir("kws-cli");
    const config = { contexts: [{ name: "prod", context: { cluster: "c", user: "u" } }] };
    await writeFile(join(dir.path, "config"), JSON.stringify(config));
    const here = world(dir.path, { KUBECONFIG: join(dir.path, "config") });
    expect(await runProgram(["stack", "list", "--context", "prod"], here)).toBe(7);
    expect(here.err()).toContain("cluster.allowContexts");
  });

  test("takes the options of every command before its words too, and tells failures as JSON then", async () => {
    await using dir = await tempDir("kws-cli");
    const here = world(dir.path);
    expect(await runProgram(["-o", "json", "-n", "shop", "stack", "start"], here)).toBe(4);
    expect(JSON.parse(here.err())).toMatchObject({
      code: "config",
      message: expect.stringContaining("kws.yaml"),
    });
    expect(findCommand(["--nonsense", "stack", "start"])).toBeUndefined();
  });

  test("of init writes what it finds, once", async () => {
    await using dir = await tempDir("kws-cli");
    for (const name of ["orders", "web"]) await mkdir(join(dir.path, name, "chart"), { recursive: true });
    await writeFile(join(dir.path, "orders/Dockerfile"), "FROM scratch\n");
    await writeFile(join(dir.path, "orders/chart/Chart.yaml"), "name: orders\n");
    await writeFile(join(dir.path, "web/package.json"), "{}");
    await writeFile(join(dir.path, "web/chart/Chart.yaml"), "name: web\n");
    const here = world(dir.path);
    expect(await runProgram(["init", "--name", "shop"], here), here.err()).toBe(0);
    expect(await readFile(join(dir.path, "kws.yaml"), "utf8")).toContain("orders: { path: ./orders }");
    expect(await readFile(join(dir.path, "web/kws.yaml"), "utf8")).toContain("builder: node");
    const { loadProject } = await import("@kws/platform/project/workspace");
    const { loadServices } = await import("@kws/platform/project/services");
    const services = await loadServices(await loadProject(join(dir.path, "kws.yaml")), {
      cache: dir.path,
      env: {},
    });
    expect(services.map((service) => service.name)).toEqual(["orders", "web"]);
    expect(await runProgram(["init"], world(dir.path))).toBe(9);
  });
});

describe("completion", () => {
  const shop =
    "name: shop\nservices:\n  orders: { path: ./o }\n  payments: { path: ./p }\nstacks:\n  shop: {}\n  small: {}\n";
  test.each([
    [["st"], ["stack"]],
    [["stack", "re"], ["remove"]],
    [
      ["stack", "start", ""],
      ["shop", "small"],
    ],
    [["stack", "start", "shop", "p"], ["payments"]],
    [["service", "logs", "orders", ""], ["payments"]],
    [["service", "logs", "--stack", "sm"], ["small"]],
    [["service", "logs", "--fo"], ["--follow"]],
    [
      ["stack", "list", "-o", ""],
      ["json", "table", "yaml"],
    ],
    [["completion", "p"], ["powershell"]],
    [
      ["package", ""],
      ["list", "orders", "payments", "prune", "remove"],
    ],
    [["package", "orders", ""], ["payments"]],
    [["service", "exec", "orders", "--", "l"], []],
    [["nothing", "x"], []],
  ])("of %j offers %j", async (words, expected) => {
    await using dir = await tempDir("kws-cli");
    await writeFile(join(dir.path, "kws.yaml"), shop);
    const offered = await complete(words, world(dir.path));
    expect(offered.split("\n").filter((word) => word !== "")).toEqual(expected);
  });

  test("offers the profiles of the charts, without those that are named already", async () => {
    await using dir = await tempDir("kws-cli");
    await writeFile(join(dir.path, "kws.yaml"), "name: orders\n");
    for (const profile of ["local", "qa", "qa1"])
      await mkdir(join(dir.path, "chart/profiles", profile), { recursive: true });
    await writeFile(join(dir.path, "chart/Chart.yaml"), "name: orders\n");
    const here = world(dir.path);
    expect(await complete(["stack", "start", "-p", "q"], here)).toBe("qa\nqa1\n");
    expect(await complete(["profile", "diff", "orders", "qa", ""], here)).toBe("local\nqa1\n");
  });

  test("never fails aloud", async () => {
    await using dir = await tempDir("kws-cli");
    await writeFile(join(dir.path, "kws.yaml"), "services: [\n");
    expect(await complete(["stack", "start", ""], world(dir.path))).toBe("");
  });

  test.each([...shells])("has a script for %s", (shell) => {
    expect(completionScript(shell)).toContain("kws __complete");
  });
});

describe("output", () => {
  test("tables align with colours in them and have no trailing blanks", () => {
    const colored = createStyle(true);
    const text = renderTable(
      ["A", "B"],
      [
        ["x", colored.green("ready")],
        ["long", ""],
      ],
      plain,
    );
    expect(text).toBe(`A     B\nx     ${colored.green("ready")}\nlong\n`);
  });

  test("data is printed as JSON and as YAML, and a result without any prints nothing", async () => {
    const printed = async (format: string, result: object) => {
      let out = "";
      await printResult(result, format, { write: (text) => (out += text) }, plain);
      return out;
    };
    expect(await printed("json", { data: { a: [1] } })).toBe('{\n  "a": [\n    1\n  ]\n}\n');
    expect(await printed("yaml", { data: { a: [1] } })).toBe("a:\n  - 1\n");
    expect(await printed("json", {})).toBe("");
    expect(await printed("table", { text: "hi" })).toBe("hi\n");
  });

  test("colours follow NO_COLOR, FORCE_COLOR and TERM", () => {
    expect(wantsColor({}, true)).toBe(true);
    expect(wantsColor({ TERM: "dumb" }, true)).toBe(false);
    expect(wantsColor({ FORCE_COLOR: "1" }, false)).toBe(true);
    expect(wantsColor({ NO_COLOR: "1", FORCE_COLOR: "1" }, true)).toBe(false);
    expect(wantsColor({ FORCE_COLOR: "1" }, true, true)).toBe(false);
  });

  test("control characters from elsewhere do not reach the terminal", () => {
    expect(printable("a\u001b[31mred\u001b]0;title\u0007\u0008b\tc")).toBe("aredb\tc");
  });

  test("plain progress has one line for each step that ended", () => {
    let out = "";
    const report = plainReporter({ write: (text) => (out += text) }, plain);
    report({ kind: "start", id: "a", title: "build a", elapsedMs: 0 });
    report({ kind: "detail", id: "a", title: "build a", detail: "x", elapsedMs: 1 });
    report({ kind: "skipped", id: "a", title: "build a", detail: "unchanged", elapsedMs: 1500 });
    expect(out).toBe("– build a unchanged (1.5 s)\n");
  });

  test("a step that failed has one short line, since its error is told in full at the end", async () => {
    let out = "";
    const steps = new Steps({
      now: () => 0,
      onEvent: plainReporter({ write: (text) => (out += text) }, plain),
    });
    const error = new UserError(`${"word ".repeat(40)}\nsecond line`);
    await expect(steps.run({ id: "a", title: "build a" }, () => Promise.reject(error))).rejects.toBe(error);
    expect(out).toMatch(/^✗ build a word [^\n]*word… \(0 ms\)\n$/);
    expect(out.length).toBeLessThan(130);
  });

  test("the critical path leaves out what took no time", () => {
    const step = (id: string, startedMs: number, durationMs: number) => ({
      id,
      title: id,
      startedMs,
      durationMs,
      outcome: "done" as const,
      after: [],
    });
    const path = [step("build a", 0, 900), step("install a", 900, 10), step("ready a", 910, 1090)];
    expect(renderCriticalPath(path, plain)).toBe(
      "where the time went (2.0 s): build a 900 ms → ready a 1.1 s\n",
    );
  });

  test("errors are told by kind: what a user can mend without a stack, bugs with one", () => {
    const full = describeFailure(Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" }), [
      "/",
    ]);
    expect(full).toMatchObject({
      code: "failed",
      exitCode: 1,
      message: "the disk of / is full: ENOSPC: no space left",
      fix: expect.stringContaining("kws image remove"),
    });
    const unmade = Object.assign(new Error("ENOENT: mkdir '/x'"), { code: "ENOENT", syscall: "mkdir" });
    expect(describeFailure(unmade)).toMatchObject({ code: "permission", exitCode: 7 });
    expect(describeFailure(new TypeError("x"))).toMatchObject({ code: "bug", exitCode: 70 });
    const text = renderFailure(describeFailure(new UserError("no", { at: "f:1:2", fix: "Do." })), plain);
    expect(text).toBe("error: no\n   at: f:1:2\n  fix: Do.\n");
  });
});
