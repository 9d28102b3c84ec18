import { mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { loadServices } from "../project/services.ts";
import { loadProject, type ProjectService } from "../project/workspace.ts";
import { loadChart } from "./chart.ts";

const noSecrets = () => Promise.reject(new Error("there are no secrets"));

async function service(
  root: string,
  extra: Record<string, string> = {},
  chart = "./chart",
): Promise<ProjectService> {
  const files = {
    "kws.yaml": `name: api\nchart: ${chart}\n`,
    "chart/Chart.yaml": "apiVersion: v2\nname: api\nversion: 1.2.3\n",
    "chart/values.yaml": "replicas: 2\n",
    "chart/profiles/local/values.yaml": "replicas: 1\n",
    ...extra,
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const [only] = await loadServices(await loadProject(join(root, "kws.yaml")), { cache: root, env: {} });
  if (only === undefined) throw new Error("no service");
  return only;
}

test("a profile's values are read, and the digest changes with any file", async () => {
  await using dir = await tempDir("kws-chart");
  const chart = await loadChart(await service(dir.path), "local", noSecrets);
  expect(chart).toMatchObject({ name: "api", version: "1.2.3", values: { replicas: 1 } });
  const other = await loadChart(
    await service(dir.path, { "chart/templates/a.yaml": "x" }),
    "production",
    noSecrets,
  );
  expect(other.values).toEqual({});
  expect(other.digest).not.toBe(chart.digest);
});

test.each([
  ["a link to a secret", "/etc/passwd"],
  ["a link inside the chart", "values.yaml"],
])("%s is refused", async (_case, target) => {
  await using dir = await tempDir("kws-chart");
  const owner = await service(dir.path);
  await symlink(target, join(dir.path, "chart/link.yaml"));
  await expect(loadChart(owner, "local", noSecrets)).rejects.toMatchObject({
    code: "config",
    at: join(dir.path, "chart/link.yaml"),
  });
});

test.each(["../chart", "/etc", "chart/../.."])("a chart at %s is refused", async (path) => {
  await using dir = await tempDir("kws-chart");
  await expect(loadChart(await service(dir.path, {}, path), "local", noSecrets)).rejects.toMatchObject({
    code: "config",
    at: `${dir.path}/kws.yaml:2:8`,
  });
});

test("values of 100 MB are refused", async () => {
  await using dir = await tempDir("kws-chart");
  const owner = await service(dir.path);
  await truncate(join(dir.path, "chart/values.yaml"), 100 * 1024 * 1024);
  await expect(loadChart(owner, "local", noSecrets)).rejects.toMatchObject({
    code: "config",
    message: /too big/,
  });
});

test("values that are not YAML are refused at their place", async () => {
  await using dir = await tempDir("kws-chart");
  const owner = await service(dir.path, { "chart/profiles/local/values.yaml": "a: [1\nb: 2\n" });
  await expect(loadChart(owner, "local", noSecrets)).rejects.toMatchObject({
    code: "config",
    at: expect.stringMatching(/profiles\/local\/values.yaml:\d+:\d+$/),
  });
});

test("a missing chart says so", async () => {
  await using dir = await tempDir("kws-chart");
  await expect(loadChart(await service(dir.path, {}, "./charts"), "local", noSecrets)).rejects.toMatchObject({
    message: expect.stringContaining("api has no chart"),
  });
});
