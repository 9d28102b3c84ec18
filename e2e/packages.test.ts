/** Packages from a clone to a running pod: the same bytes twice, registries, versions that stay, hostile charts. */
import { execFileSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { basename, join } from "node:path";
import { registryMissing, startDockerRegistry } from "@kws/oci/testing/docker-registry";
import { pods } from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, repository, type Kws } from "./kws.ts";

interface Package {
  service: string;
  version: string;
  chart: string;
  digest: string;
  images: string[];
  dirty: boolean;
  changed: boolean;
  file: string;
  pushed: boolean;
}

let kws: Kws;
/** Another machine, as it were. */
let other: Kws;
let shop: string;

const git = (cwd: string, ...args: string[]) =>
  execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@example.com", ...args], {
    cwd,
    encoding: "utf8",
  });

beforeAll(async () => {
  [kws, other] = await Promise.all([newKws(), newKws()]);
  shop = join(kws.home, "shop");
  await cp(join(repository, "examples/shop/payments"), join(shop, "payments"), {
    recursive: true,
    filter: (path) => basename(path) !== "node_modules",
  });
  await writeFile(join(shop, "kws.yaml"), "name: shop\nservices: [./payments]\n");
  git(shop, "init", "--quiet", "--initial-branch=main");
  commit("first");
  git(shop, "tag", "payments/v1.2.3");
  expect((await kws.run(["cluster", "start"])).code).toBe(0);
});
afterAll(async () => {
  await kws[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

function commit(message: string): void {
  git(shop, "add", "--all");
  git(shop, "commit", "--quiet", "--allow-empty", "--message", message);
}

async function pack(from: Kws, cwd: string, ...args: string[]): Promise<Package> {
  const result = await from.run(["package", ...args, "-o", "json"], { cwd });
  expect(result.code, result.stderr).toBe(0);
  const [one] = JSON.parse(result.stdout) as Package[];
  if (one === undefined) throw new Error("nothing was packaged");
  return one;
}

/** Helm as a person has it, with the cluster's kubeconfig. */
async function helm(...args: string[]): Promise<string> {
  const { helm: tool } = await kws.json<{ helm: { path: string } }>("version");
  const { kubeconfigPath } = await kws.cluster();
  return execFileSync(tool.path, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { HOME: kws.home, KUBECONFIG: kubeconfigPath, PATH: process.env["PATH"] },
  });
}

test("a clone in another folder, packaged from another home, gives the same bytes", async () => {
  const clone = join(other.home, "some", "where");
  git(shop, "clone", "--quiet", shop, clone);
  const one = await pack(kws, shop, "--destination", join(kws.home, "out"));
  const two = await pack(other, clone, "payments", "--destination", join(other.home, "out"));
  expect(one).toMatchObject({ version: "1.2.3", dirty: false, changed: true });
  expect({ ...two, file: "" }).toEqual({ ...one, file: "" });
  expect(Buffer.compare(await readFile(one.file), await readFile(two.file))).toBe(0);
  expect(await pack(kws, shop)).toMatchObject({ digest: one.digest, changed: false });
});

test("a packaging that was killed leaves nothing half, and goes on the next time", async () => {
  const { digest } = await pack(kws, shop);
  await using fresh = await newKws();
  const blobs = join(fresh.home, ".local/share/kws/packages/blobs/sha256");
  const child = fresh.spawn(["package"], shop);
  await untilAny(blobs, child);
  child.kill("SIGKILL");
  await once(child, "exit");
  const listed = await fresh.json<Package[]>("package", "list");
  expect(listed.filter((one) => one.digest !== digest)).toEqual([]);
  expect((await pack(fresh, shop)).digest).toBe(digest);
  expect(await fresh.json<Package[]>("package", "list")).toMatchObject([{ version: "1.2.3", digest }]);
});

/** Until something lies in the folder, or in the one for what is not whole. */
async function untilAny(folder: string, child: ChildProcess): Promise<void> {
  const ingest = join(folder, "../../ingest");
  while (child.exitCode === null) {
    for (const place of [folder, ingest]) if (existsSync(place) && (await readdir(place)).length > 0) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("Helm installs the archive, and the pod runs the image that it pins", async () => {
  const { file, images } = await pack(kws, shop, "--destination", join(kws.home, "out"));
  await helm("install", "payments", file, "--wait", "--timeout", "60s");
  const client = await kws.client();
  const { items } = await client.list(pods, "default");
  expect(items.map(({ spec }) => spec?.containers[0]?.image)).toEqual(images);
});

const missing = registryMissing(process.env);

test.skipIf(missing !== undefined)(`published once, a version stays as it is ${missing ?? ""}`, async () => {
  await using registry = await startDockerRegistry(process.env);
  const target = `${registry.host}/team/shop`;
  const publish = (from: Kws, ...args: string[]) =>
    from.run(["publish", "--registry", target, "-o", "json", ...args], { cwd: shop });
  const parse = (result: { stdout: string; stderr: string }) => {
    const [one] = JSON.parse(result.stdout) as Package[];
    return one;
  };

  const first = await publish(kws);
  expect(first.code, first.stderr).toBe(0);
  expect(parse(first)).toMatchObject({
    version: "1.2.3",
    chart: `${target}/charts/payments:1.2.3`,
    images: [expect.stringContaining(`${target}/payments@sha256:`)],
    pushed: true,
  });
  expect(parse(await publish(kws))).toMatchObject({ digest: parse(first)?.digest, pushed: false });
  // The other machine has nothing, makes the same, and finds that it is there.
  expect(parse(await publish(other))).toMatchObject({ digest: parse(first)?.digest, pushed: false });

  await helm(
    "install",
    "plain",
    `oci://${target}/charts/payments`,
    "--version=1.2.3",
    "--plain-http",
    "--wait",
    "--timeout=60s",
  );

  await writeFile(join(shop, "payments", "note.txt"), "not committed");
  const dirty = await publish(kws);
  expect(dirty.code).toBe(9);
  expect(dirty.stderr).toContain("not committed as it is");

  commit("a note");
  const after = await publish(kws);
  expect(parse(after)?.version).toMatch(/^1\.2\.4-dev\.1\+g[0-9a-f]{7}$/);
  expect(
    await helm(
      "show",
      "chart",
      `oci://${target}/charts/payments`,
      `--version=${parse(after)?.version}`,
      "--plain-http",
    ),
  ).toContain(`version: ${parse(after)?.version}`);

  const again = await publish(kws, "payments", "--version", "1.2.3");
  expect(again.code, again.stderr).toBe(9);
  expect(again.stderr).toContain('"code":"conflict"');
});

test.skipIf(missing !== undefined)(
  `a killed publish shows no chart, and goes on ${missing ?? ""}`,
  async () => {
    await using registry = await startDockerRegistry(process.env);
    await using proxy = await forward(registry.host);
    const target = `${proxy.host}/shop`;
    const version = ["--version", "3.0.0"];
    const child = kws.spawn(["publish", "--registry", target, ...version], shop);
    await proxy.uploading;
    child.kill("SIGKILL");
    await once(child, "exit");
    const tags = () =>
      fetch(`http://${registry.host}/v2/shop/charts/payments/tags/list`).then((answer) => answer.json());
    expect(await tags()).toHaveProperty("errors");
    const again = await kws.run(["publish", "--registry", target, ...version], { cwd: shop });
    expect(again.code, again.stderr).toBe(0);
    expect(await tags()).toMatchObject({ tags: ["3.0.0"] });
  },
);

/** A way to a server that tells when the first request comes through that sends content. */
async function forward(host: string) {
  const [address = "", port] = host.split(":");
  const { promise: uploading, resolve } = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    const upstream = connect(Number(port), address);
    socket.on("data", (chunk) => {
      if (/^(PATCH|PUT) /.test(chunk.toString("latin1", 0, 6))) resolve();
    });
    socket.on("error", () => upstream.destroy());
    upstream.on("error", () => socket.destroy());
    socket.pipe(upstream).pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    uploading,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

test("hostile charts are refused with their place, and nothing is written", async () => {
  await using fresh = await newKws();
  const chart = join(shop, "payments/chart");
  const attempts: [string, () => Promise<unknown>, string][] = [
    ["link", () => symlink("/etc/passwd", join(chart, "passwd")), "symbolic link"],
    [
      "key",
      () => writeFile(join(chart, "key.txt"), `AGE-SECRET-KEY-1${"Q".repeat(58)}`),
      "holds a private key",
    ],
    ["secret", () => plainSecret(join(chart, "profiles/qa")), "in the clear"],
    ["big", () => writeFile(join(chart, "big"), Buffer.alloc(6 * 1024 * 1024)), "too big"],
  ];
  for (const [name, attack, message] of attempts) {
    git(shop, "checkout", "--quiet", "-b", name, "main");
    await attack();
    commit(name);
    const result = await fresh.run(["package"], { cwd: shop });
    expect(result.code, result.stderr).toBe(4);
    expect(result.stderr).toContain(message);
    expect(result.stderr).not.toContain("canary");
    git(shop, "checkout", "--quiet", "main");
  }
  expect(await fresh.json("package", "list")).toEqual([]);
});

async function plainSecret(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "secrets.yaml"), "password: canary\n");
}
