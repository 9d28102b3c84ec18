import { chmod, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { run } from "@kws/base/exec";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { openLayout } from "@kws/oci/layout";
import type { Repository } from "@kws/oci/repository";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { loadServices } from "../project/services.ts";
import { loadProject } from "../project/workspace.ts";
import type { Provider } from "../providers/provider.ts";
import { locateTool } from "../tools/locate.ts";
import { readArchive } from "./archive.ts";
import { packageService, type PackageOptions } from "./package.ts";
import { exportChart, openPackageStore } from "./store.ts";

// Helm is started several times in most of them.
vi.setConfig({ testTimeout: 60_000 });

/** Git as on a machine of its own: no settings, fixed people and times. */
const env = {
  PATH: process.env["PATH"],
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.com",
  GIT_COMMITTER_NAME: "A",
  GIT_COMMITTER_EMAIL: "a@example.com",
  GIT_AUTHOR_DATE: "2026-01-02T03:04:05Z",
  GIT_COMMITTER_DATE: "2026-01-02T03:04:05Z",
};

const template = `kind: ConfigMap
apiVersion: v1
metadata:
  name: {{ .Release.Name }}
data:
  image: "{{ .Values.image.repository }}@{{ .Values.image.digest }}"
`;

const plain = {
  "kws.yaml": "name: api\nbuild: {}\n",
  "package.json": "{}\n",
  "chart/Chart.yaml": "# Ours\napiVersion: v2\nname: api\nversion: 0.3.0\n",
  "chart/values.yaml": "# The image is filled in.\nimage:\n  repository: x # here\nreplicas: 2\n",
  "chart/templates/a.yaml": template,
  "chart/profiles/qa/values.yaml": "replicas: 1\n",
};

let tools: TempDir;
let helm: string;
let dir: TempDir;

beforeAll(async () => {
  tools = await tempDir("kws-helm");
  helm = (await locateTool("helm", { env, cache: tools.path })).path;
});
afterAll(() => tools[Symbol.asyncDispose]());
beforeEach(async () => {
  dir = await tempDir("kws-package-test");
});
afterEach(() => dir[Symbol.asyncDispose]());

async function write(root: string, files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

async function git(root: string, ...args: string[]): Promise<string> {
  return (await run("git", ["-C", root, ...args], { env })).stdout.trim();
}

async function commit(root: string, files: Record<string, string> = {}): Promise<string> {
  await write(root, files);
  await git(root, "add", "--all");
  await git(root, "commit", "--quiet", "--allow-empty", "--message", "change");
  return git(root, "rev-parse", "HEAD");
}

/** A repository of one service. */
async function repository(files: Record<string, string> = {}, name = "repository"): Promise<string> {
  const root = join(dir.path, name);
  await mkdir(root);
  await git(root, "init", "--quiet", "--initial-branch=main");
  await commit(root, { ...plain, ...files });
  return root;
}

/** Answers each build with an image of the given content, out of a store of its own. */
async function fakeBuilder(content = "program"): Promise<Provider> {
  const images: Repository = (await openLayout(join(dir.path, "images"))).repository("kws.local/shop/api");
  const unused = () => Promise.reject(new Error("not part of this test"));
  return {
    name: "embedded",
    start: unused,
    stop: unused,
    reset: unused,
    status: unused,
    kubeconfig: unused,
    snapshots: () => {
      throw new Error("not used");
    },
    checkBuild: async () => {},
    async buildImage(build) {
      const layer = Buffer.from(content);
      const descriptor = { mediaType: mediaTypes.layer, digest: sha256(layer), size: layer.length };
      const config = Buffer.from("{}");
      const configDescriptor = { mediaType: mediaTypes.config, digest: sha256(config), size: config.length };
      await images.pushBlob(descriptor, () => once(layer));
      await images.pushBlob(configDescriptor, () => once(config));
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: configDescriptor,
        layers: [descriptor],
      };
      const { digest } = await images.pushManifest(
        Buffer.from(JSON.stringify(manifest)),
        mediaTypes.manifest,
      );
      return { repository: `kws.local/${build.name}`, tag: build.tag ?? "", digest, cached: true };
    },
    imageRepository: () => Promise.resolve(images),
  };
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

async function pack(root: string, options: Partial<PackageOptions> & { data?: string } = {}) {
  const [service] = await loadServices(await loadProject(join(root, "kws.yaml")), { cache: dir.path, env });
  if (service === undefined) throw new Error("no service");
  const store = await openPackageStore(options.data ?? join(dir.path, "data"));
  const one = await packageService(service, {
    workspace: "shop",
    allowDirty: false,
    builder: await fakeBuilder(),
    store,
    helm,
    cache: dir.path,
    env,
    ...options,
  });
  const file = await exportChart(store, one, join(dir.path, "out"));
  return { ...one, bytes: await readFile(file) };
}

test("the archive says version, commit and image, and keeps the profiles and the comments", async () => {
  const root = await repository();
  await git(root, "remote", "add", "origin", "git@git.example.com:team/api.git");
  const commitId = await git(root, "rev-parse", "HEAD");
  const one = await pack(root);
  expect(one).toMatchObject({
    service: "api",
    version: `0.3.0-dev.1+g${commitId.slice(0, 7)}`,
    chart: `kws.local/shop/charts/api:0.3.0-dev.1_g${commitId.slice(0, 7)}`,
    revision: commitId,
    created: "2026-01-02T03:04:05Z",
    dirty: false,
    changed: true,
  });
  const files = await readArchive(one.bytes, "api.tgz");
  const text = (path: string) => Buffer.from(files.get(`api/${path}`) ?? "").toString();
  const [, digest] = one.images[0]?.split("@") ?? [];
  expect(text("values.yaml")).toBe(
    `# The image is filled in.\nimage:\n  repository: kws.local/shop/api # here\n  tag: 0.3.0-dev.1_g${commitId.slice(0, 7)}\n  digest: ${digest}\nreplicas: 2\n`,
  );
  expect(text("profiles/qa/values.yaml")).toBe("replicas: 1\n");
  expect(parse(text("Chart.yaml"))).toMatchObject({
    version: one.version,
    appVersion: one.version.replace("+", "_"),
    annotations: {
      "org.opencontainers.image.source": "https://git.example.com/team/api",
      "org.opencontainers.image.revision": commitId,
      "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
      "kws.dev/service": "api",
      "kws.dev/images": one.images[0],
    },
  });
});

test("the same commit gives the same bytes in another folder, with other modes, cloned another way", async () => {
  const root = await repository();
  await git(root, "remote", "add", "origin", "https://someone:secret@git.example.com/team/api");
  const clone = join(dir.path, "elsewhere", "clone");
  await run("git", ["clone", "--quiet", root, clone], { env });
  await git(clone, "remote", "set-url", "origin", "ssh://git@git.example.com:2222/team/api.git/");
  await chmod(join(clone, "chart/values.yaml"), 0o600);
  const one = await pack(root);
  const other = await pack(clone, { data: join(dir.path, "other-data") });
  expect(Buffer.compare(one.bytes, other.bytes)).toBe(0);
  expect(other.digest).toBe(one.digest);
  expect((await pack(root)).changed).toBe(false);
});

test("a tag, or a flag, gives the version", async () => {
  const root = await repository();
  await git(root, "tag", "api/v0.5.0");
  expect((await pack(root)).version).toBe("0.5.0");
  expect((await pack(root, { version: "7.0.0" })).version).toBe("7.0.0");
  await expect(pack(root, { version: "seven" })).rejects.toMatchObject({ code: "usage" });
});

test("what is not committed is refused, or shows in the version", async () => {
  const root = await repository({ ".gitignore": "ignored\n" });
  await write(root, { ignored: "x" });
  await pack(root);
  await write(root, { "chart/values.yaml": "image: {}\nreplicas: 3\n", new: "x" });
  await expect(pack(root)).rejects.toThrow("api is not committed as it is: chart/values.yaml, new");
  const dirty = await pack(root, { allowDirty: true });
  expect(dirty).toMatchObject({ dirty: true, version: expect.stringMatching(/-dirty$/) });
  await write(root, { "chart/values.yaml": "image: {}\nreplicas: 4\n" });
  const again = await pack(root, { allowDirty: true });
  expect(again.version).toBe(dirty.version);
  expect(again.digest).not.toBe(dirty.digest);
});

test("a version that was packaged with other content stays as it was", async () => {
  const root = await repository();
  const one = await pack(root, { version: "1.0.0" });
  await commit(root, { "chart/values.yaml": "image: {}\nreplicas: 5\n" });
  await expect(pack(root, { version: "1.0.0" })).rejects.toMatchObject({ code: "conflict" });
  await expect(pack(root, { version: "1.0.0", builder: await fakeBuilder("other") })).rejects.toThrow(
    "api:1.0.0 was packaged before, with other content",
  );
  const store = await openPackageStore(join(dir.path, "data"));
  expect((await store.list()).map(({ digest }) => digest)).toEqual([one.digest]);
});

test("several images stand under their keys", async () => {
  const root = await repository({
    "kws.yaml": "name: api\nimages:\n  web: {}\n  worker: {}\n",
    "chart/values.yaml": "web: { replicas: 1 }\n",
    "chart/templates/a.yaml": template.replaceAll(".Values.image", ".Values.worker.image"),
  });
  const { bytes, images, version } = await pack(root);
  const files = await readArchive(bytes, "api.tgz");
  const tag = version.replace("+", "_");
  const digest = images[0]?.split("@")[1];
  expect(parse(Buffer.from(files.get("api/values.yaml") ?? "").toString())).toEqual({
    web: { replicas: 1, image: { repository: "kws.local/shop/api-web", tag, digest } },
    worker: { image: { repository: "kws.local/shop/api-worker", tag, digest } },
  });
});

test("a registry stands in the chart, in front of chart and image", async () => {
  const one = await pack(await repository(), { registry: "registry.example.com/shop" });
  expect(one.chart).toMatch(/^registry\.example\.com\/shop\/charts\/api:/);
  expect(one.images).toEqual([expect.stringMatching(/^registry\.example\.com\/shop\/api@sha256:/)]);
});

test("a shallow clone has no version unless its commit has a tag", async () => {
  const root = await repository();
  await commit(root, { "package.json": '{"a":1}\n' });
  const clone = join(dir.path, "shallow");
  await run("git", ["clone", "--quiet", "--depth=1", `file://${root}`, clone], { env });
  await expect(pack(clone)).rejects.toThrow("the clone of api is shallow");
  await git(clone, "tag", "v3.0.0");
  expect((await pack(clone)).version).toBe("3.0.0");
});

test("a folder without a commit is refused", async () => {
  await write(join(dir.path, "loose"), plain);
  await expect(pack(join(dir.path, "loose"))).rejects.toThrow("api has no commit to package");
});

const pem = `${["-----BEGIN RSA PRIVATE", "KEY-----"].join(" ")}\n  ${"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC".repeat(2)}`;
const age = `AGE-SECRET-KEY-1${"Q".repeat(58)}`;

test.each<[string, Record<string, string>, message: string, place: string]>([
  ["an age identity", { "chart/files/key.txt": `# mine\n${age}\n` }, "holds a private key", "key.txt:2:1"],
  [
    "a private key",
    { "chart/profiles/qa/values.yaml": `key: |\n  ${pem}\n` },
    "holds a private key",
    "values.yaml:2:3",
  ],
  [
    "a private key in base64",
    { "chart/templates/s.yaml": `data:\n  k: ${Buffer.from(pem).toString("base64")}AAAA\n` },
    "private key",
    "s.yaml:2:6",
  ],
  [
    "another chart's name",
    { "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n" },
    'called "web"',
    "Chart.yaml:2:7",
  ],
  [
    "a version that is none",
    { "chart/Chart.yaml": "apiVersion: v2\nname: api\nversion: one\n" },
    "not SemVer",
    "Chart.yaml:3:10",
  ],
  [
    "an image that is no mapping",
    { "chart/values.yaml": "replicas: 1\nimage: x:1\n" },
    "must be a mapping",
    "values.yaml:2:8",
  ],
  [
    "a profile with an image of its own",
    { "chart/profiles/qa/values.yaml": "image:\n  tag: x\n" },
    "may not set image.tag",
    "values.yaml:2:3",
  ],
  [
    "profiles that Helm leaves out",
    { "chart/.helmignore": "profiles/\n" },
    ".helmignore leaves it out",
    ".helmignore",
  ],
  [
    "a chart that ignores the digest",
    { "chart/templates/a.yaml": "kind: Pod\napiVersion: v1\nmetadata: { name: a }\n" },
    "do not use the digest",
    "chart/templates",
  ],
  [
    "a label with a plus",
    {
      "chart/templates/b.yaml":
        "kind: Pod\nmetadata:\n  labels:\n    helm.sh/chart: a-{{ .Chart.Version }}\n",
    },
    "would hold a +",
    "chart/templates",
  ],
  [
    "a template that is broken",
    { "chart/templates/b.yaml": "a: {{ .Values.x \n" },
    "Helm cannot",
    "b.yaml:2",
  ],
  [
    "a missing dependency",
    {
      "chart/Chart.yaml":
        "apiVersion: v2\nname: api\nversion: 1.0.0\ndependencies: [{ name: db, version: 1.0.0, repository: 'file:///none' }]\n",
    },
    "db",
    "chart",
  ],
])("refused: %s", async (_, files, message, place) => {
  const root = await repository(files);
  const error = await pack(root).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  expect(error).toMatchObject({
    code: "config",
    message: expect.stringContaining(message),
    at: expect.stringContaining(place),
  });
});

test("a link is refused, also one in place of a folder", async () => {
  const root = await repository();
  await symlink(tmpdir(), join(root, "chart/files"));
  await commit(root);
  await expect(pack(root)).rejects.toThrow("is a symbolic link");
  await rm(join(root, "chart/files"));
  await rm(join(root, "chart/templates"), { recursive: true });
  await symlink(tmpdir(), join(root, "chart/templates"));
  await expect(pack(root, { allowDirty: true })).rejects.toThrow("is a symbolic link");
});
