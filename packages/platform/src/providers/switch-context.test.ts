import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { switchContext } from "./switch-context.ts";

const own = (server: string) => `apiVersion: v1
kind: Config
current-context: kind-kws
clusters: [{ name: kind-kws, cluster: { server: "${server}" } }]
users: [{ name: kind-kws, user: { token: secret } }]
contexts: [{ name: kind-kws, context: { cluster: kind-kws, user: kind-kws } }]
`;

const theirs = `# mine
apiVersion: v1
kind: Config
current-context: work
clusters:
  - name: work # keep
    cluster: { server: "https://work.example.com" }
users: []
contexts:
  - name: work
    context: { cluster: work, user: work }
`;

async function switched(before: string, server = "https://127.0.0.1:7001"): Promise<string> {
  await using dir = await tempDir("kws-test");
  const [from, to] = [join(dir.path, "own"), join(dir.path, "config")];
  await writeFile(from, own(server));
  await writeFile(to, before);
  expect(await switchContext({ path: from }, to)).toBe("kind-kws");
  return await readFile(to, "utf8");
}

test("the context becomes the current one, and all else stays, comments included", async () => {
  const text = await switched(theirs);
  expect(text).toContain("# mine");
  expect(text).toContain("# keep");
  expect(parse(text)).toMatchObject({
    "current-context": "kind-kws",
    clusters: [{ name: "work" }, { name: "kind-kws", cluster: { server: "https://127.0.0.1:7001" } }],
    users: [{ name: "kind-kws", user: { token: "secret" } }],
    contexts: [{ name: "work" }, { name: "kind-kws" }],
  });
});

test("a kubeconfig that is not there is made, for this user alone; one that is there keeps its permissions", async () => {
  await using dir = await tempDir("kws-test");
  const [from, to] = [join(dir.path, "own"), join(dir.path, "kube", "config")];
  await writeFile(from, own("https://127.0.0.1:7001"));
  for (const mode of [0o600, 0o640]) {
    await switchContext({ path: from }, to);
    expect(parse(await readFile(to, "utf8"))).toMatchObject({ "current-context": "kind-kws" });
    expect((await stat(to)).mode & 0o777).toBe(mode);
    await chmod(to, 0o640);
  }
});

test("an entry of the cluster's last start is replaced, its port may have changed", async () => {
  const once = await switched(theirs);
  const config = parse(await switched(once, "https://127.0.0.1:7002")) as { clusters: unknown[] };
  expect(config.clusters).toHaveLength(2);
  expect(config.clusters).toContainEqual({ name: "kind-kws", cluster: { server: "https://127.0.0.1:7002" } });
});

test("another cluster of that name is not replaced", async () => {
  await expect(switched(own("https://kind.example.com"))).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("kind.example.com"),
  });
});
