import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLayout } from "@kws/oci/layout";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { openRegistries } from "@kws/oci/registry";
import { listen } from "@kws/oci/testing/hostile-server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ArchiveFiles, writeArchive } from "./archive.ts";
import { tagOf } from "./version.ts";
import { fetchPackage, type PackageSource, unpackPackage } from "./fetch.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kws-fetch-"));
});
afterAll(() => rm(folder, { recursive: true }));

interface Chart {
  version: string;
  created?: string;
  /** In the archive, where it is another than the tag's. */
  name?: string;
  annotations?: string;
  more?: Record<string, string>;
}

async function storeWith(name: string, charts: Chart[]): Promise<PackageSource> {
  const layout = await openLayout(join(folder, name));
  const repository = layout.repository("kws.local/shop/charts/api");
  for (const chart of charts) {
    const files: ArchiveFiles = new Map(
      Object.entries({ "api/Chart.yaml": metadata(chart), ...chart.more }).map(([path, text]) => [
        path,
        Buffer.from(text),
      ]),
    );
    const archive = await writeArchive(files, 0);
    const config = Buffer.from("{}");
    const put = async (content: Uint8Array, mediaType: string) => {
      const descriptor = { mediaType, digest: sha256(content), size: content.length };
      await repository.pushBlob(descriptor, () => once(content));
      return descriptor;
    };
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await put(config, "application/vnd.cncf.helm.config.v1+json"),
      layers: [await put(archive, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
    };
    await repository.pushManifest(Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest, {
      tag: tagOf(chart.version),
    });
  }
  return { prefix: "kws.local/shop", repository: (one) => layout.repository(one) };
}

function metadata({ version, name = "api", created = "", annotations }: Chart): string {
  const own = annotations ?? `{ kws.dev/service: api, org.opencontainers.image.created: "${created}" }`;
  return `apiVersion: v2\nname: ${name}\nversion: ${version}\nannotations: ${own}\n`;
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

test("the newest version is the highest that was made from a commit; of equal ones the last committed", async () => {
  const source = await storeWith("newest", [
    { version: "1.10.0-dev.2+gaaaaaaa", created: "2026-01-02T00:00:00Z" },
    { version: "1.10.0-dev.2+gbbbbbbb", created: "2026-01-03T00:00:00Z" },
    { version: "1.10.0-dev.3+gccccccc-dirty", created: "2026-01-04T00:00:00Z" },
    { version: "1.9.0", created: "2026-01-05T00:00:00Z" },
  ]);
  expect((await fetchPackage(source, { service: "api" })).version).toBe("1.10.0-dev.2+gbbbbbbb");
  const dirty = await fetchPackage(source, { service: "api", version: "1.10.0-dev.3+gccccccc-dirty" });
  expect(dirty.version).toContain("dirty");
});

test("a digest decides over what the version's tag names", async () => {
  const [one, two] = await Promise.all([
    storeWith("moved", [{ version: "1.0.0", created: "first" }]),
    storeWith("other", [{ version: "1.0.0", created: "second" }]),
  ]);
  const { digest } = await fetchPackage(one, { service: "api", version: "1.0.0" });
  await storeWith("moved", [{ version: "1.0.0", created: "second" }]);
  expect(await fetchPackage(one, { service: "api", version: "1.0.0" })).toMatchObject({ created: "second" });
  expect(await fetchPackage(one, { service: "api", version: "1.0.0", digest })).toMatchObject({
    created: "first",
  });
  await expect(fetchPackage(two, { service: "api", version: "1.0.0", digest })).rejects.toMatchObject({
    code: "not-found",
  });
});

test.each([
  ["of another name", { name: "other" }, 'it is "other" "1.0.0"'],
  ["that kws did not make", { annotations: "{}" }, "was not made by"],
  [
    "whose images have no digests",
    { annotations: "{ kws.dev/service: api, kws.dev/images: 'a:b' }" },
    "by digest",
  ],
  ["with a second chart beside", { more: { "evil/Chart.yaml": "" } }, "not the chart api"],
  ["with a path that leads out", { more: { "api/../../evil": "" } }, "leads out"],
])("a chart %s is refused", async (name, chart, message) => {
  const source = await storeWith(name, [{ version: "1.0.0", ...chart }]);
  await expect(fetchPackage(source, { service: "api", version: "1.0.0" })).rejects.toThrow(message);
});

test("what is not there is told with what to do", async () => {
  const source = await storeWith("empty", []);
  await expect(fetchPackage(source, { service: "api" })).rejects.toMatchObject({
    code: "not-found",
    fix: expect.stringContaining("kws package"),
  });
  await expect(fetchPackage(source, { service: "api", version: "1.0.0" })).rejects.toMatchObject({
    code: "not-found",
    fix: expect.stringContaining("kws package"),
  });
});

test("a registry whose connections break ends it with a word about the connection", async () => {
  const host = await listen((_request, response) => response.destroy());
  const registries = openRegistries({ env: {}, retryDelayMs: 1 });
  const source = { prefix: `${host}/team`, repository: (name: string) => registries.repository(name) };
  await expect(fetchPackage(source, { service: "api", version: "1.0.0" })).rejects.toMatchObject({
    code: "failed",
    message: expect.stringContaining("broke"),
  });
});

test("a package is unpacked below the folder, as it is", async () => {
  const source = await storeWith("whole", [
    { version: "1.0.0", more: { "api/profiles/qa/values.yaml": "a: 1\n" } },
  ]);
  const out = join(folder, "out");
  const dir = await unpackPackage(await fetchPackage(source, { service: "api" }), out);
  expect(await readdir(dir)).toEqual(["Chart.yaml", "profiles"]);
  expect(await readFile(join(dir, "profiles/qa/values.yaml"), "utf8")).toBe("a: 1\n");
});
