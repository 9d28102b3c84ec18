/** Nothing secret leaves this machine, wherever it stands. */
import { gunzipSync } from "node:zlib";
import { readFile, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { KubeClient } from "@kws/kube/client";
import { pods, secrets } from "@kws/kube/resources";
import { createMemoryApi } from "@kws/kube/testing/memory-api";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { encrypt } from "@kws/sops/file";
import { ageKeys } from "@kws/sops/testing/keyring";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cleaner, writeBundle } from "./bundle.ts";
import { secretsHere, secretsOfCluster } from "./known-secrets.ts";
import { run, subjectIn, writeFiles } from "./testing/subject.ts";

let dir: TempDir;
beforeEach(async () => {
  dir = await tempDir("kws-bundle");
});
afterEach(() => dir[Symbol.asyncDispose]());

const canaries = {
  variable: "canary-of-the-environment",
  encrypted: "canary-of-an-encrypted-file",
  login: "canary-of-a-registry",
  object: "canary-of-a-secret-object",
  pod: "canary-of-a-pods-variable",
};
const signal = AbortSignal.timeout(30_000);

async function workspace() {
  const keys = await ageKeys();
  const sealing = { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now: new Date() } as const;
  const auth = Buffer.from(`me:${canaries.login}`).toString("base64");
  const all = Object.values(canaries).join(" ");
  await writeFiles(dir.path, {
    "kws.yaml": `# ${all}\n# ghp_${"a1B2".repeat(9)}\nservices: [./a]\n`,
    "a/kws.yaml": `name: a\n# https://me:hunter2@git.example.com ${auth} ${encodeURIComponent(all)} ${Buffer.from(canaries.encrypted).toString("base64")}\n`,
    "a/chart/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n",
    "a/chart/profiles/qa/secrets.yaml": await encrypt(`secrets:\n  TOKEN: ${canaries.encrypted}\n`, sealing),
    "home/.docker/config.json": JSON.stringify({ auths: { "registry.example.com": { auth } } }),
    "home/.config/sops/age/keys.txt": `${keys.identity}\n`,
  });
  const home = join(dir.path, "home");
  const env = { PATH: process.env["PATH"], HOME: home, API_TOKEN: canaries.variable };
  return { subject: subjectIn(dir.path, { env }), auth, identity: keys.identity };
}

test("the archive is for its owner alone, and holds no canary in any form, no home and no names", async () => {
  const { subject, auth, identity } = await workspace();
  const path = join(dir.path, "bundle.tar.gz");
  const analysis = await run(subject, "schema", "folders");
  const options = { path, analysis, version: "1.2.3", user: "erika", host: hostname() };
  const files = await writeBundle(subject, options);
  expect(files).toEqual([
    "analysis.json",
    "cluster/daemon.log",
    "config/services/a/kws.yaml",
    "config/workspace/kws.yaml",
    "versions.json",
  ]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const text = gunzipSync(await readFile(path)).toString("latin1");
  expect(text).toContain("services: [./a]");
  // Those of the cluster are known to a cluster alone; see below.
  for (const secret of [
    canaries.variable,
    canaries.encrypted,
    canaries.login,
    auth,
    identity,
    "hunter2",
    "ghp_",
  ]) {
    for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString("base64")])
      expect(text).not.toContain(form);
  }
  expect(text).not.toContain(join(dir.path, "home"));
  await expect(writeBundle(subject, options)).rejects.toMatchObject({ code: "conflict" });
});

test("what a cluster's Secrets and pods hold is taken out of logs, with keys of several lines, users and hosts", async () => {
  const { subject } = await workspace();
  const client = new KubeClient(createMemoryApi());
  const data = { token: Buffer.from(canaries.object).toString("base64") };
  await client.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "x", namespace: "n" },
    data,
  });
  const env = [{ name: "DATABASE_PASSWORD", value: canaries.pod }];
  const spec = { containers: [{ name: "c", env }] };
  await client.create(pods, { apiVersion: "v1", kind: "Pod", metadata: { name: "x", namespace: "n" }, spec });
  const known = [...(await secretsHere(subject)), ...(await secretsOfCluster(client, "n", signal))];
  expect(known).toEqual(expect.arrayContaining(Object.values(canaries)));
  const clean = await cleaner(known, { home: "/home/erika", user: "erika", host: "laptop-7" });
  const key = `-----BEGIN RSA PRIVATE KEY-----\n${"MIIB".repeat(12)}\nQUJD\n-----END RSA PRIVATE KEY-----`;
  const log = `said ${canaries.object} and ${canaries.pod} in /home/erika/x by erika@laptop-7\n${key}\nthe end\n`;
  const told = await clean("x.log", log);
  expect(told).toBe("said <redacted> and <redacted> in ~/x by <user>@<host>\n<redacted>\nthe end\n");
});
