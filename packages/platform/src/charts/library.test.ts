import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { exec } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { parseAllDocuments } from "yaml";
import { afterAll, beforeAll, expect, test } from "vitest";
import { locateTool } from "../tools/locate.ts";
import { libraryFiles, libraryIsOld } from "./library.ts";
import { newChart } from "./new-chart.ts";

const shop = fileURLToPath(new URL("../../../../examples/shop", import.meta.url));
const services = (await readdir(shop, { withFileTypes: true })).filter((entry) => entry.isDirectory());

let helm: string;
let cache: AsyncDisposable & { path: string };
beforeAll(async () => {
  cache = await tempDir("kws-library");
  helm = (await locateTool("helm", { env: { PATH: process.env["PATH"] }, cache: cache.path })).path;
}, 60_000);
afterAll(() => cache[Symbol.asyncDispose]());

interface KubeDocument {
  kind: string;
  metadata: { name: string; labels: Record<string, string> };
  data?: Record<string, string>;
  binaryData?: Record<string, string>;
  spec: { template: { metadata: { annotations: Record<string, string> }; spec: unknown } };
}

async function render(chart: string, values: unknown = {}, release = "orders"): Promise<KubeDocument[]> {
  const args = ["template", release, chart, "--values=-"];
  const { exitCode, stdout, stderr } = await exec(helm, args, { env: {}, input: JSON.stringify(values) });
  if (exitCode !== 0) throw new Error(stderr);
  return parseAllDocuments(stdout)
    .map((document) => document.toJS() as KubeDocument | null)
    .filter((object) => object !== null);
}

async function write(dir: string, files: Record<string, string>): Promise<string> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  }
  return dir;
}

const text = { plain: "debug", "with.dots": "a=b\n", trailing: "a\n\n\n", spaces: "  x ", empty: "" };
const odd = {
  quoted: `'"\\{{ x }}`,
  markup: "<a>&amp;</a>",
  unicode: "ü😀\u2028\u0007",
  yes: "yes",
  octal: "0644",
};
const typed = { million: 1_000_000, fraction: 1.5, flag: false };
const values = { ...text, ...odd, ...typed, bytes: { base64: "AAEC\n/w==" }, gone: null };
const expected = { ...text, ...odd, million: "1000000", fraction: "1.5", flag: "false" };

test("configuration and secrets survive as they are written: text, numbers, booleans and bytes", async () => {
  await using dir = await tempDir("kws-library");
  const chart = await write(dir.path, await newChart({ service: "orders" }));
  const objects = await render(chart, { config: values, secrets: values });
  const config = objects.find(({ kind }) => kind === "ConfigMap");
  expect(config).toMatchObject({ metadata: { name: "orders-config" }, binaryData: { bytes: "AAEC/w==" } });
  expect(config?.data).toEqual(expected);
  const secret = objects.find(({ kind }) => kind === "Secret");
  expect(secret?.metadata.name).toBe("orders-secrets");
  const decoded = Object.entries(secret?.data ?? {}).map(([key, value]) => [
    key,
    Buffer.from(value, "base64"),
  ]);
  expect(Object.fromEntries(decoded)).toEqual({
    ...Object.fromEntries(Object.entries(expected).map(([key, value]) => [key, Buffer.from(value)])),
    bytes: Buffer.from([0, 1, 2, 255]),
  });
});

test("the pods' checksum changes with a secret or configuration, and with nothing else", async () => {
  await using dir = await tempDir("kws-library");
  const chart = await write(dir.path, await newChart({ service: "orders", port: 80 }));
  const podOf = async (given: unknown) => {
    const objects = await render(chart, given);
    return objects.find(({ kind }) => kind === "Deployment")?.spec.template;
  };
  const before = await podOf({ config: { A: "1", B: "2" }, secrets: { C: "3" } });
  expect(before?.metadata.annotations["checksum/configuration"]).toMatch(/^[0-9a-f]{64}$/);
  expect(await podOf({ config: { B: "2", A: "1" }, secrets: { C: "3" }, replicas: 3 })).toEqual(before);
  expect(await podOf({ config: { A: "1", B: "2" }, secrets: { C: "4" } })).not.toEqual(before);
  expect(await podOf({ config: { A: "1", B: "3" }, secrets: { C: "3" } })).not.toEqual(before);
});

test.each([
  ["a key that Kubernetes does not take", { "a b": 1 }, '"a b" cannot be a key'],
  ["a mapping", { db: { host: "x" } }, "secrets.db must be text"],
  ["a list", { hosts: ["x"] }, "secrets.hosts must be text"],
])("%s is refused with its name", async (_case, secrets, message) => {
  await using dir = await tempDir("kws-library");
  const chart = await write(dir.path, await newChart({ service: "orders" }));
  await expect(render(chart, { secrets })).rejects.toThrow(message);
});

test("in an umbrella chart, objects are named after their own chart", async () => {
  await using dir = await tempDir("kws-library");
  for (const name of ["orders", "catalog"])
    await write(join(dir.path, "charts", name), await newChart({ service: name, port: 80 }));
  const dependencies = "dependencies: [{ name: orders, version: 0.x }, { name: catalog, version: 0.x }]";
  await write(dir.path, { "Chart.yaml": `apiVersion: v2\nname: shop\nversion: 1.0.0\n${dependencies}\n` });
  const objects = await render(dir.path, {}, "shop");
  expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort()).toEqual([
    "Deployment catalog",
    "Deployment orders",
    "Service catalog",
    "Service orders",
  ]);
});

/** What `helm lint` says against a chart, and the files of the library of which it has another copy. */
async function faultsOf(chart: string): Promise<string[]> {
  const lint = await exec(helm, ["lint", "--strict", chart], { env: {} });
  const files = Object.entries(await libraryFiles());
  const copies = await Promise.all(files.map(([path]) => readFile(join(chart, path), "utf8")));
  const different = files.filter(([, text], index) => copies[index] !== text).map(([path]) => path);
  return lint.exitCode === 0 ? different : [lint.stdout, ...different];
}

test("a new chart passes helm lint and has this library", async () => {
  await using dir = await tempDir("kws-library");
  const chart = await write(dir.path, await newChart({ service: "orders", port: 80 }));
  expect(await faultsOf(chart)).toEqual([]);
  expect((await render(chart)).map(({ kind }) => kind)).toEqual(["Service", "Deployment"]);
});

test.each(services)(
  "the chart of the shop's $name passes helm lint and has this library",
  async ({ name }) => {
    expect(await faultsOf(join(shop, name, "chart"))).toEqual([]);
  },
);

test("a copy of an older version is old, one of the same or a newer version is not, and none is none", async () => {
  await using dir = await tempDir("kws-library");
  expect(await libraryIsOld(dir.path)).toBe(false);
  for (const [version, old] of [
    ["0.9.0", true],
    ["1.0.0", false],
    ["1.10.0", false],
  ] as const) {
    await write(dir.path, { "charts/kws/Chart.yaml": `apiVersion: v2\nname: kws\nversion: ${version}\n` });
    expect(await libraryIsOld(dir.path)).toBe(old);
  }
});
