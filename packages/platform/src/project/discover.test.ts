import { join } from "node:path";
import { mkdir, writeFile } from "node:fs/promises";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { discover, serviceYaml, workspaceYaml } from "./discover.ts";
import { yamlString } from "./yaml-file.ts";

/** What YAML 1.1, 1.2 or both read as a boolean, a number, a date or nothing. */
const others = ["on", "y", "no", "true", "null", "2048", "1e3", "0x1f", "0o17", "0b1", "1-2", "2020-01-01"];

test.each([...others, "orders", "./my app", "./a: b", "./a #b", "./a, b", "it's", '"', "- x", "{", ""])(
  "%j is written so that every reader takes it for that string",
  (text) => {
    for (const version of ["1.1", "1.2"] as const) {
      expect(parse(`{ a: ${yamlString(text)} }`, { version })).toEqual({ a: text });
      expect(parse(`a: ${yamlString(text)}\n`, { version })).toEqual({ a: text });
    }
  },
);

test("folders with such names become services of these names", async () => {
  await using dir = await tempDir("kws-discover");
  const names = others.filter((name) => name !== "1-2").toSorted();
  for (const name of names) {
    await mkdir(join(dir.path, name));
    await writeFile(join(dir.path, name, "Dockerfile"), "FROM scratch\n");
  }
  const services = await discover(dir.path);
  expect(services.map(({ name }) => name)).toEqual(names);
  for (const version of ["1.1", "1.2"] as const) {
    expect(services.map((one): unknown => parse(serviceYaml(one), { version }).name)).toEqual(names);
    const workspace = parse(workspaceYaml("on", services), { version, mapAsMap: true }) as Map<
      string,
      Map<string, unknown>
    >;
    expect([...(workspace.get("services")?.keys() ?? [])]).toEqual(names);
    expect(workspace.get("name")).toBe("on");
    expect([...(workspace.get("stacks")?.keys() ?? [])]).toEqual(["on"]);
  }
});
