import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { openServices } from "../project/services.ts";
import { loadProject, type StackService } from "../project/workspace.ts";
import { chooseSuites, suiteName } from "./levels.ts";

async function services(files: Record<string, string>): Promise<StackService[]> {
  await using dir = await tempDir("kws-levels");
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(dir.path, name));
    await writeFile(join(dir.path, name, "kws.yaml"), `name: ${name}\n${text}`);
  }
  await writeFile(
    join(dir.path, "kws.yaml"),
    `services: [${Object.keys(files)
      .map((name) => `./${name}`)
      .join(", ")}]`,
  );
  const project = await loadProject(join(dir.path, "kws.yaml"));
  return await openServices(project, { cache: dir.path, env: {} }).all();
}

const unit = "unit: { run: [a] }";
const functional = "functional: { run: [b] }";

test("suites are chosen by service and level, unit tests first", async () => {
  const all = await services({
    a: `build: {}\ntests: { ${unit}, ${functional} }`,
    b: `build: {}\ntests: { ${unit} }`,
    c: "build: {}",
  });
  const names = (choice: Parameters<typeof chooseSuites>[1]) => chooseSuites(all, choice).map(suiteName);
  expect(names({ names: [] })).toEqual(["a unit", "b unit", "a functional"]);
  expect(names({ names: ["a"] })).toEqual(["a unit", "a functional"]);
  expect(names({ names: [], level: "functional" })).toEqual(["a functional"]);
  expect(() => names({ names: ["b"], level: "functional" })).toThrow("b has no functional tests");
  expect(() => names({ names: ["c"] })).toThrow("c has no tests");
  expect(() => names({ names: ["d"] })).toThrow('there is no service "d"');
});

test.each([
  ["tests: { unit: { run: [a] } }", /in which image the tests of a run/, /:2:/],
  ["build: {}\ntests:\n  unit: { run: [a], image: x, target: y }", /an `image` or in a `target`/, /:4:/],
  [
    "build: {}\ntests:\n  unit:\n    run: [a]\n    datastores: { db: { ports: [1] } }",
    /either an `image` or a `service`/,
    /:6:/,
  ],
  [
    "build: {}\ntests:\n  unit:\n    run: [a]\n    datastores: { db: { service: x, ports: [1] } }",
    /there is no service "x"/,
    /:6:/,
  ],
])("refused, with the place: %s", async (text, message, at) => {
  const all = await services({ a: text });
  expect(() => chooseSuites(all, { names: [] })).toThrow(
    expect.objectContaining({
      message: expect.stringMatching(message) as string,
      at: expect.stringMatching(at) as string,
    }),
  );
});
