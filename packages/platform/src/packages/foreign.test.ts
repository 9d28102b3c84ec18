import { mkdir, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { json, listen } from "@kws/oci/testing/hostile-server";
import { expect, test } from "vitest";
import { writeArchive } from "./archive.ts";
import { foreignCharts } from "./foreign.ts";

async function archiveOf(version: string): Promise<Uint8Array> {
  const metadata = `apiVersion: v2\nname: search\nversion: ${version}\n`;
  return writeArchive(new Map([["search/Chart.yaml", Buffer.from(metadata)]]), 0);
}

interface Repository {
  versions: string[];
  /** What the index says instead of an archive's digest. */
  digest?: string;
  /** `Basic …`. */
  login?: string;
}

/** A classic repository below `/charts`, and what it was asked for. */
async function repository({
  versions,
  digest,
  login,
}: Repository): Promise<{ address: string; asked: string[] }> {
  const asked: string[] = [];
  const archives = new Map<string, Uint8Array>();
  for (const version of versions)
    archives.set(`/charts/files/search-${version}.tgz`, await archiveOf(version));
  const entries = versions.map((version) => ({
    version,
    urls: [`files/search-${version}.tgz`],
    digest:
      digest ?? sha256(archives.get(`/charts/files/search-${version}.tgz`) ?? "").slice("sha256:".length),
  }));
  const host = await listen((request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? "";
    if (login !== undefined && request.headers.authorization !== login) {
      response.writeHead(401, { "www-authenticate": "Basic realm=charts" }).end();
      return;
    }
    asked.push(path);
    if (path === "/charts/index.yaml")
      response.end(JSON.stringify({ apiVersion: "v1", entries: { search: entries } }));
    else if (archives.has(path)) response.end(archives.get(path));
    else response.writeHead(404).end();
  });
  return { address: `http://${host}/charts/search`, asked };
}

test("a classic repository gives the highest version of a range, and its index is read once", async () => {
  const { address, asked } = await repository({ versions: ["9.1.0", "9.10.0", "10.0.0", "11.0.0-rc.1"] });
  const fetch = foreignCharts({});
  const found = await fetch({ service: "find", address, version: "9.x" });
  expect(found).toMatchObject({ service: "find", chart: "search", version: "9.10.0", images: [] });
  expect(found.digest).toBe(sha256(found.archive));
  expect((await fetch({ service: "find", address, version: undefined })).version).toBe("10.0.0");
  expect(asked).toEqual([
    "/charts/index.yaml",
    "/charts/files/search-9.10.0.tgz",
    "/charts/files/search-10.0.0.tgz",
  ]);
});

test("an archive that is not what its index says is refused", async () => {
  const { address } = await repository({ versions: ["1.0.0"], digest: "0".repeat(64) });
  await expect(foreignCharts({})({ service: "find", address, version: "1.0.0" })).rejects.toThrow(
    "is damaged",
  );
});

test("what a repository does not have is told", async () => {
  const { address } = await repository({ versions: ["1.0.0"] });
  const fetch = foreignCharts({});
  await expect(fetch({ service: "a", address, version: "^2" })).rejects.toMatchObject({
    code: "not-found",
    message: `${address} has no version ^2`,
  });
  await expect(fetch({ service: "a", address: `${address}es`, version: "*" })).rejects.toThrow(
    'no chart "searches"',
  );
  await expect(fetch({ service: "a", address: `${address}/more`, version: "*" })).rejects.toThrow("404");
});

test("a repository that wants a login gets the one of `helm repo add`", async () => {
  await using home = await tempDir("kws-foreign");
  const login = `Basic ${Buffer.from("reader:example").toString("base64")}`;
  const { address } = await repository({ versions: ["1.0.0"], login });
  const folder = join(home.path, ".config/helm");
  await mkdir(folder, { recursive: true });
  const url = address.slice(0, address.lastIndexOf("/"));
  const known = `repositories:\n- { name: ours, url: "${url}/", username: reader, password: example }\n`;
  await writeFile(join(folder, "repositories.yaml"), known);
  const wanted = { service: "find", address, version: "^1" };
  expect((await foreignCharts({ HOME: home.path })(wanted)).version).toBe("1.0.0");
  await expect(foreignCharts({})(wanted)).rejects.toMatchObject({ code: "permission" });
});

test("a registry gives the highest version of a range, with its manifest's digest", async () => {
  const archive = await archiveOf("1.4.2");
  const config = Buffer.from("{}");
  const blobs = new Map([archive, config].map((content) => [sha256(content), content]));
  const describe = (mediaType: string, content: Uint8Array) => ({
    mediaType,
    digest: sha256(content),
    size: content.length,
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describe("application/vnd.cncf.helm.config.v1+json", config),
    layers: [describe("application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive)],
  });
  const host = await listen((request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? "";
    const blob = blobs.get(path.slice(path.lastIndexOf("/") + 1));
    if (path.startsWith("/v2/team/search/tags/list"))
      json(response, 200, { tags: ["1.4.2", "1.3.0", "2.0.0"] });
    else if (path === "/v2/team/search/manifests/1.4.2") {
      response.writeHead(200, { "content-type": mediaTypes.manifest }).end(manifest);
    } else if (blob !== undefined) response.end(blob);
    else response.writeHead(404).end();
  });
  const address = `oci://${host}/team/search`;
  const found = await foreignCharts({})({ service: "find", address, version: "^1.3" });
  expect(found).toMatchObject({ version: "1.4.2", digest: sha256(Buffer.from(manifest)) });
});
