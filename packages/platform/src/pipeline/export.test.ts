import { parse } from "yaml";
import { expect, test } from "vitest";
import { exportFormats, exportPipeline } from "./export.ts";

const services = ["orders", "web-shop"];

test.each(exportFormats)("%s calls kws for each service", async (format) => {
  await expect(exportPipeline(format, services)).toMatchFileSnapshot(`testdata/export/${format}.txt`);
});

test("what is YAML can be read, with a job for each service", () => {
  expect(Object.keys((parse(exportPipeline("github", services)) as { jobs: object }).jobs)).toEqual(services);
  expect(Object.keys(parse(exportPipeline("gitlab", services)) as object)).toEqual(["stages", ...services]);
});
