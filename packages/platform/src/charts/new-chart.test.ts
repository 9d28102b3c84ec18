import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { parse } from "yaml";
import { expect, test } from "vitest";
import { newChart, portOf } from "./new-chart.ts";
import { chartFault } from "./render.ts";

test("the port is what the Dockerfile exposes, else what the program listens on", async () => {
  await using dir = await tempDir("kws-port");
  expect(await portOf(dir.path, "Dockerfile")).toBeUndefined();
  await mkdir(join(dir.path, "src"));
  await writeFile(join(dir.path, "src/main.ts"), "server.listen(Number(process.env['PORT'] ?? 4000));");
  expect(await portOf(dir.path, "Dockerfile")).toBe(4000);
  await writeFile(join(dir.path, "Dockerfile"), "FROM scratch\nexpose 9090/tcp\n");
  expect(await portOf(dir.path, "Dockerfile")).toBe(9090);
});

test("a new chart's values say where the program listens, or that it does not", async () => {
  const valuesOf = async (port?: number): Promise<unknown> =>
    parse(
      (await newChart({ service: "orders", ...(port === undefined ? {} : { port }) }))["values.yaml"] ?? "",
    );
  expect(await valuesOf(4000)).toMatchObject({ port: 4000, image: { repository: "orders" } });
  expect(await valuesOf()).toMatchObject({ port: 0 });
});

test("what Helm says of a chart's file is told with its place, and what it says of the cluster is not the chart's fault", () => {
  const fault = chartFault('parse error at (api/templates/bad.yaml:3): function "nope" not defined', "/c");
  expect(fault).toMatchObject({ code: "config", at: "/c/templates/bad.yaml:3" });
  expect(chartFault("context deadline exceeded", "/c")).toBeUndefined();
});
