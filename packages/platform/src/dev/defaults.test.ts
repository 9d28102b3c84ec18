import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { defaultsOf, productionCommand } from "./defaults.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "kws-defaults-"));
});
afterEach(() => rm(dir, { recursive: true }));

const production = ["server"];
const write = (files: Record<string, string>) =>
  Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(dir, name), text)));
const lastRule = { path: "**", action: "restart" };

test("a Node service runs what it runs in production, and begins again when a file changes", async () => {
  await write({ "package.json": "{}" });
  expect(await defaultsOf(dir, { built: false, production })).toEqual({
    command: production,
    rules: [lastRule],
    keep: [],
  });
  expect((await defaultsOf(dir, { built: false, production: undefined })).command).toEqual(["node", "."]);
});

test("a dev script that watches by itself is left to do that, with the programs of its dependencies", async () => {
  await write({ "package.json": JSON.stringify({ scripts: { dev: "nodemon --watch src server.js" } }) });
  const { command, rules } = await defaultsOf(dir, { built: false, production });
  expect(command?.at(-1)).toMatch(/node_modules\/\.bin.*nodemon --watch src server\.js$/);
  expect(rules).toEqual([{ path: "**", action: "sync" }]);
});

test("a dev script that misses changes is started again", async () => {
  for (const dev of [
    "node server.js",
    "node --watch server.js",
    "NODE_ENV=x node -r ./x.js --watch-path=src .",
  ]) {
    await write({ "package.json": JSON.stringify({ scripts: { dev } }) });
    expect((await defaultsOf(dir, { built: false, production })).rules).toEqual([lastRule]);
  }
});

test.each([
  ["npm start", "sync"],
  ["sh -c npm run plain", "restart"],
  ["nodemon server.js", "sync"],
  ["node server.js", "restart"],
  ["uvicorn app:app --reload", "sync"],
  ["uvicorn app:app", "restart"],
  ["flask --app shop run --debug", "sync"],
  ["python manage.py runserver 0.0.0.0:8000", "sync"],
  ["python manage.py runserver --noreload", "restart"],
  ["php-fpm", "sync"],
  ["nginx -g daemon off;", "sync"],
  ["java -jar nginx.jar", "restart"],
])("a save of what runs as `%s` leads to: %s", async (command, action) => {
  await write({ "package.json": JSON.stringify({ scripts: { start: "vite", plain: "node ." } }) });
  const { rules } = await defaultsOf(dir, { built: false, production: command.split(" ") });
  expect(rules).toEqual([{ path: "**", action }]);
});

test("what decides an image's dependencies rebuilds it, where it is built from the folder", async () => {
  await write({ "package.json": "{}" });
  const { rules } = await defaultsOf(dir, { built: true, production });
  expect(rules.filter(({ action }) => action === "rebuild").map(({ path }) => path)).toEqual([
    "Dockerfile",
    "package.json",
    "package-lock.json",
  ]);
});

test("installed dependencies of the image are kept where the folder has none", async () => {
  await write({ "package.json": JSON.stringify({ dependencies: { pg: "8" } }) });
  expect((await defaultsOf(dir, { built: true, production })).keep).toEqual(["node_modules"]);
  await mkdir(join(dir, "node_modules"));
  expect((await defaultsOf(dir, { built: true, production })).keep).toEqual([]);
});

test("a Go service is compiled in the stage of its Dockerfile that has Go", async () => {
  await write({
    "go.mod": "module orders",
    Dockerfile:
      "FROM --platform=$BUILDPLATFORM golang:1.25 AS build\nRUN go build\nFROM scratch\nCOPY --from=build /o /o\n",
  });
  expect(await defaultsOf(dir, { built: true, production })).toMatchObject({
    command: ["go", "run", "."],
    target: "build",
  });
  await write({ Dockerfile: "FROM golang:1.25\n" });
  expect(await defaultsOf(dir, { built: true, production })).not.toHaveProperty("target");
});

test("a Maven service runs by its plugin", async () => {
  await write({ "pom.xml": "<artifactId>spring-boot-maven-plugin</artifactId>" });
  expect((await defaultsOf(dir, { built: true, production })).command).toEqual([
    "mvn",
    "-q",
    "spring-boot:run",
  ]);
  await write({ "pom.xml": "<project/>" });
  expect((await defaultsOf(dir, { built: true, production })).command).toContain("exec:java");
});

test("a Python service, and any other, runs what it runs in production", async () => {
  await write({ "requirements.txt": "flask" });
  expect(await defaultsOf(dir, { built: false, production })).toMatchObject({
    command: production,
    rules: [lastRule],
  });
});

test.each([
  [{}, { Entrypoint: ["node"], Cmd: ["a.js"] }, ["node", "a.js"]],
  [{ args: ["b.js"] }, { Entrypoint: ["node"], Cmd: ["a.js"] }, ["node", "b.js"]],
  [{ command: ["deno"] }, { Entrypoint: ["node"], Cmd: ["a.js"] }, ["deno"]],
  [{ command: ["deno"], args: ["run"] }, undefined, ["deno", "run"]],
  [{}, { Cmd: ["sh", "-c", "echo $HOME"] }, ["sh", "-c", "echo $$HOME"]],
  [{}, undefined, undefined],
])("of the container %j and the image %j, %j runs in production", (container, image, expected) => {
  expect(productionCommand({ name: "web", ...container }, image)).toEqual(expected);
});
