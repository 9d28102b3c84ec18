import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Dev } from "../../project/schema.ts";
import type { ProjectService } from "../../project/workspace.ts";
import { debuggerOf, type DebugStart } from "./debugger.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "kws-debugger-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function of(command: string[], start: DebugStart = "run", debug?: Dev["debug"]) {
  const config = { name: "orders", ...(debug === undefined ? {} : { dev: { debug } }) };
  const service = { name: "orders", dir, config, file: { at: () => "kws.yaml:1:1" } };
  return debuggerOf(service as unknown as ProjectService, command, start);
}

test.each([
  ["node server.js", "run", "node --inspect=127.0.0.1:9229 server.js"],
  ["node --inspect=0.0.0.0:1 server.js", "hold", "node --inspect-brk=127.0.0.1:9229 server.js"],
  ["python -u main.py --port 80", "run", "python -u -m debugpy --listen 127.0.0.1:5678 main.py --port 80"],
  [
    "python3 -W error -m app",
    "hold",
    "python3 -W error -m debugpy --listen 127.0.0.1:5678 --wait-for-client -m app",
  ],
  ["/usr/bin/uvicorn app:app", "run", "python3 -m debugpy --listen 127.0.0.1:5678 -m uvicorn app:app"],
  ["uv run python main.py", "run", "uv run python -m debugpy --listen 127.0.0.1:5678 main.py"],
  [
    "java -jar app.jar",
    "hold",
    "java -agentlib:jdwp=transport=dt_socket,server=y,suspend=y,address=127.0.0.1:5005 -jar app.jar",
  ],
  [
    "mvn -q spring-boot:run",
    "run",
    "mvn -Dspring-boot.run.jvmArguments=-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=127.0.0.1:5005 -q spring-boot:run",
  ],
  [
    "go run .",
    "run",
    "dlv debug . --headless --listen=127.0.0.1:2345 --api-version=2 --accept-multiclient --only-same-user=false --continue",
  ],
  [
    "go run -race -tags a,b ./cmd/orders --port 80",
    "hold",
    "dlv debug ./cmd/orders --headless --listen=127.0.0.1:2345 --api-version=2 --accept-multiclient --only-same-user=false --build-flags=-race -tags a,b -- --port 80",
  ],
  [
    "go run main.go db.go x",
    "hold",
    "dlv debug main.go db.go --headless --listen=127.0.0.1:2345 --api-version=2 --accept-multiclient --only-same-user=false -- x",
  ],
  ["dotnet watch run", "run", "dotnet watch run"],
] satisfies [string, DebugStart, string][])("`%s` (%s) becomes `%s`", (command, start, expected) => {
  expect(of(command.split(" "), start).command.join(" ")).toBe(expected);
});

test.each(["uv run main.py", "./gradlew bootRun", "python", "go build .", "dlv debug ."])(
  "`%s` needs a command of its own for debugging",
  (command) => {
    expect(() => of(command.split(" "))).toThrow(/is not known/);
  },
);

test("a program that is built is run by the debugger where the folder tells its language", async () => {
  expect(() => of(["/app/orders"])).toThrow(/which language/);
  expect(of(["/app/orders", "-v"], "run", { language: "go", port: 4000 }).command).toEqual([
    "dlv",
    "exec",
    "/app/orders",
    "--headless",
    "--listen=127.0.0.1:4000",
    "--api-version=2",
    "--accept-multiclient",
    "--only-same-user=false",
    "--continue",
    "--",
    "-v",
  ]);
  await writeFile(join(dir, "go.mod"), "module orders\n");
  expect(of(["/app/orders"])).toMatchObject({ language: "go", port: 2345 });
  await rm(join(dir, "go.mod"));
});

test("a command for debugging is run as it is, and cannot be held", () => {
  const debug = { language: "jvm", command: ["./gradlew", "run", "--debug-jvm"] } as const;
  expect(of(["./gradlew", "run"], "run", { ...debug, command: [...debug.command] })).toEqual({
    language: "jvm",
    port: 5005,
    command: ["./gradlew", "run", "--debug-jvm"],
  });
  expect(() => of(["x"], "hold", { ...debug, command: [...debug.command] })).toThrow(/cannot be held/);
  expect(() => of(["dotnet", "run"], "hold")).toThrow(/cannot be held/);
});

test("a script's program takes the port, and not the launcher that started it; options of the container's stay", async () => {
  const launcher = join(dir, "node_modules/nodemon/bin");
  await mkdir(launcher, { recursive: true });
  await writeFile(
    join(launcher, "nodemon.js"),
    `require("node:child_process").spawnSync("node", ["app.mjs"], { stdio: "inherit" });`,
  );
  await writeFile(
    join(dir, "app.mjs"),
    `import { url } from "node:inspector";\nconsole.log(JSON.stringify([url() ?? "", process.env.NODE_OPTIONS]));\n`,
  );
  const script = ["sh", "-c", "node node_modules/nodemon/bin/nodemon.js"];
  const [program = "", ...args] = of(script, "run", { language: "node", port: 0 }).command;
  const env = { PATH: process.env["PATH"], NODE_OPTIONS: "--max-old-space-size=200" };
  const child = spawn(program, args, { cwd: dir, env, stdio: ["ignore", "pipe", "ignore"] });
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  const [url, options] = JSON.parse(lines[0] ?? "[]") as string[];
  expect(url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\//);
  expect(options).toMatch(/^--max-old-space-size=200 --inspect=127\.0\.0\.1:0 /);
});
