/** The charts that kustomizations become, rendered by the real helm, against what the real kubectl makes of each overlay. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "@kws/base/exec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { mergeValues, type Values } from "../../charts/layers.ts";
import { parseYaml } from "../../project/yaml-file.ts";
import { plannedText, type TestTools, testTools, writePlanned } from "../testing/render.ts";
import type { Conversion } from "../plan.ts";
import { convertKustomize } from "./convert.ts";

const testdata = fileURLToPath(new URL("testdata/", import.meta.url));
let out: string;
let tools: TestTools;
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), "kws-kustomize-"));
  tools = await testTools();
});
afterAll(() => rm(out, { recursive: true, force: true }));

async function convert(name: string): Promise<Conversion> {
  const { kubectl, env } = tools;
  const signal = AbortSignal.timeout(60_000);
  const conversion = await convertKustomize(join(testdata, name), {
    kubectl,
    env,
    signal,
    root: join(out, name),
  });
  await writePlanned(conversion);
  return conversion;
}

/** Objects by kind and name. */
function objects(text: string): Record<string, unknown> {
  const documents = parseAllDocuments(text, { version: "1.1", logLevel: "error" });
  const all = (Array.isArray(documents) ? documents : []).map((document) => document.toJS() as Values | null);
  return Object.fromEntries(
    all
      .filter((object): object is Values => object !== null && object["kind"] !== "Namespace")
      .map((object) => [
        `${String(object["kind"])} ${JSON.stringify((object["metadata"] as Values)["name"])}`,
        object,
      ]),
  );
}

test.each([
  [
    "shop",
    "shop",
    [
      ["overlays/dev", "dev"],
      ["overlays/prod", "prod"],
    ],
  ],
  ["lone", "lone", [[".", "local"]]],
  [
    "apart",
    "apart",
    [
      ["a", "a"],
      ["b", "b"],
    ],
  ],
] as const)(
  "%s: the chart with each profile renders what kustomize builds of its overlay",
  async (name, app, overlays) => {
    const conversion = await convert(name);
    const chart = join(out, name, app, "chart");
    const { helm, kubectl, env } = tools;
    for (const [folder, profile] of overlays) {
      const values = [
        ...conversion.files.entries(),
        ...conversion.secrets.map((one) => [one.path, one.values] as const),
      ]
        .filter(([path]) => dirname(path) === join(chart, "profiles", profile))
        .map(
          ([path, text]) => (typeof text === "string" ? parseYaml(path, text, "helm").value : text) as Values,
        );
      const merged = values.reduce(mergeValues, {});
      const rendered = await run(helm, ["template", app, chart, "--include-crds", "--values", "-"], {
        env,
        input: JSON.stringify(merged),
      });
      const built = await run(kubectl, ["kustomize", join(testdata, name, folder)], { env });
      expect(objects(rendered.stdout)).toEqual(objects(built.stdout));
    }
    await run(helm, ["lint", chart], { env });
    await expect(plannedText(conversion, testdata)).toMatchFileSnapshot(
      join(testdata, `${name}.expected.txt`),
    );
  },
);

test("definitions are there before what is of their kinds, and what kustomize says of both overlays is told once", async () => {
  const source = join(out, "operator");
  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(source, path)), { recursive: true });
    await writeFile(join(source, path), text);
  };
  await put("base/kustomization.yaml", "resources: [crd.yaml, queue.yaml]\ncommonLabels: { team: shop }\n");
  await put(
    "base/crd.yaml",
    "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: queues.example.com }\nspec: { group: example.com }\n",
  );
  await put(
    "base/queue.yaml",
    "apiVersion: example.com/v1\nkind: Queue\nmetadata: { name: mail }\nspec: { size: 1 }\n",
  );
  for (const name of ["dev", "prod"])
    await put(`overlays/${name}/kustomization.yaml`, `resources: [../../base]\nnamespace: ${name}\n`);
  const { kubectl, env } = tools;
  const signal = AbortSignal.timeout(60_000);
  const { files, findings } = await convertKustomize(source, { kubectl, env, signal, root: source });
  const paths = [...files.keys()].map((path) => relative(join(source, "operator/chart"), path));
  expect(paths).toContain("crds/queues-example-com-custom-resource-definition.yaml");
  expect(paths).toContain("templates/mail-queue.yaml");
  expect(paths.filter((path) => path.startsWith("templates/"))).toHaveLength(1);
  expect(findings.map(({ severity, key }) => [severity, key])).toEqual([
    ["note", ""],
    ["note", "CustomResourceDefinition queues.example.com"],
  ]);
  expect(findings[0]?.message).toMatch(/commonLabels.*deprecated/);
});

test("what cannot be built is told with its place, and the rest is converted", async () => {
  const conversion = await convert("broken");
  expect(conversion.services.map(({ name }) => name)).toEqual(["fine"]);
  expect(conversion.findings.map(({ severity, at }) => [severity, relative(testdata, at)])).toEqual([
    ["error", "broken/charts/kustomization.yaml:1:1"],
    ["error", "broken/missing/kustomization.yaml:1:1"],
  ]);
});
