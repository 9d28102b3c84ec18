/**
 * Deployments of packages: from a version to the next and back where it fails, and no secret anywhere but in the cluster,
 * whatever goes wrong.
 */
import { execFileSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setInterval } from "node:timers/promises";
import { encrypt } from "@kws/sops/file";
import { ageKeys, type TestKeys } from "@kws/sops/testing/keyring";
import { openRegistries } from "@kws/oci/registry";
import { registryMissing, startDockerRegistry } from "@kws/oci/testing/docker-registry";
import { type ArchiveFiles, readArchive, writeArchive } from "@kws/platform/packages/archive";
import { fetchArchive, openPackageStore, pushChart } from "@kws/platform/packages/store";
import { namespaces, secrets } from "@kws/kube/resources";
import type { KubeClient } from "@kws/kube/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKws, repository, type Kws, type Result } from "./kws.ts";

interface Deployed {
  service: string;
  version: string;
  from: string;
  changed: boolean;
  digest: string;
}

interface Status {
  state: string;
  revision: number;
  release: string;
  version: string;
  description: string;
  pods: { images: string[] }[];
}

/** Of no dictionary: wherever it is found, it was left there. */
const canary = "Zq7canary-tomato-4711";

let kws: Kws;
let keys: TestKeys;
let client: KubeClient;
let shop: string;
let chart: string;

const git = (...args: string[]) =>
  execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@example.com", ...args], {
    cwd: shop,
    encoding: "utf8",
  });

/** A package of what the folder holds now. */
async function pack(version: string): Promise<void> {
  git("add", "--all");
  git("commit", "--quiet", "--allow-empty", "--message", version);
  const result = await kws.run(["package", "payments", "--version", version], { cwd: shop });
  expect(result.code, result.stderr).toBe(0);
}

const run = (...args: string[]): Promise<Result> => kws.run(["deploy", "payments", ...args], { cwd: shop });

async function deploy(...args: string[]): Promise<Deployed> {
  const result = await run(...args, "-o", "json");
  expect(result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout) as Deployed;
}

const status = (namespace: string) =>
  kws.json<Status>("service", "status", "payments", "--namespace", namespace);

async function edit(file: string, from: string | RegExp, to: string): Promise<void> {
  const text = await readFile(file, "utf8");
  expect(text).toMatch(from);
  await writeFile(file, text.replace(from, to));
}

beforeAll(async () => {
  [kws, keys] = await Promise.all([newKws(), ageKeys()]);
  shop = join(kws.home, "shop");
  chart = join(shop, "payments/chart");
  await cp(join(repository, "examples/shop/payments"), join(shop, "payments"), {
    recursive: true,
    filter: (path) => basename(path) !== "node_modules",
  });
  await writeFile(join(shop, "kws.yaml"), "name: shop\nservices: [./payments]\n");
  await mkdir(join(kws.home, ".config/sops/age"), { recursive: true });
  await writeFile(join(kws.home, ".config/sops/age/keys.txt"), `${keys.identity}\n`);
  const options = { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now: new Date() } as const;
  await writeFile(
    join(chart, "profiles/qa/secrets.yaml"),
    await encrypt(`secrets:\n  ADMIN_TOKEN: ${canary}\n`, options),
  );
  git("init", "--quiet", "--initial-branch=main");
  await pack("1.0.0");
  await edit(join(chart, "values.yaml"), "MAX_CENTS: 1000000", "MAX_CENTS: 2000000");
  await pack("1.1.0");
  expect((await kws.run(["cluster", "start"])).code).toBe(0);
  client = await kws.client();
});
afterAll(() => kws[Symbol.asyncDispose]());

test("a package is installed, upgraded and left alone, and Helm's history says who did what and why", async () => {
  expect(await deploy("-p", "qa1", "--version", "1.0.0")).toMatchObject({ from: "", changed: true });
  expect(await deploy("-p", "qa1", "--reason", "more cents")).toMatchObject({
    version: "1.1.0",
    from: "1.0.0",
    changed: true,
  });
  const now = await status("qa1");
  expect(now).toMatchObject({ state: "ready", revision: 2, version: "1.1.0" });
  expect(now.description).toMatch(
    /^1\.0\.0 → 1\.1\.0 \(sha256:[0-9a-f]{64}\), profile qa1, by .+@.+: more cents$/,
  );
  expect(now.pods[0]?.images[0]).toMatch(/^kws\.local\/shop\/payments@sha256:/);
  expect(await deploy("-p", "qa1")).toMatchObject({ changed: false });
  expect((await status("qa1")).revision).toBe(2);
});

test("an image that the cluster lost comes from the package again", async () => {
  const [image] = (await status("qa1")).pods[0]?.images ?? [];
  const images = await kws.json<{ references: string[] }[]>("image", "list");
  for (const name of images
    .flatMap(({ references }) => references)
    .filter((one) => one.includes("payments"))) {
    await kws.run(["image", "remove", name, "--yes"]);
  }
  await deploy("-p", "qa1", "-n", "elsewhere");
  expect((await status("elsewhere")).pods[0]?.images).toEqual([image]);
});

test("a dry run tells the fields that would change, and changes nothing", async () => {
  const result = await run(
    "-p",
    "qa1",
    "--set",
    "replicas=2",
    "--set",
    "config.MODE=fast",
    "--dry-run",
    "-o",
    "json",
  );
  expect(result.code, result.stderr).toBe(0);
  expect(JSON.parse(result.stdout)).toMatchObject({
    from: "1.1.0",
    version: "1.1.0",
    objects: [
      { kind: "ConfigMap", change: "changed", fields: ["data.MODE"] },
      { kind: "Deployment", change: "changed", fields: expect.arrayContaining(["spec.replicas"]) },
    ],
  });
  expect((await status("qa1")).revision).toBe(2);
});

test("what does not become ready is rolled back; a first install is removed", async () => {
  const broken = ["-p", "qa1", "--set", "health.ready=/nowhere", "--timeout", "5s"];
  const failed = await run(...broken);
  expect(failed.code).toBe(6);
  expect(failed.stderr).toContain("payments runs 1.1.0 (revision 2) again");
  expect(await status("qa1")).toMatchObject({ state: "ready", release: "deployed", version: "1.1.0" });

  // Helm cannot render it, so there is nothing to go back from.
  const faulty = await run("-p", "qa1", "--set", "config=[1]");
  expect(faulty.code, faulty.stderr).toBe(4);
  expect(faulty.stderr).toContain("payments was not changed");
  expect(await deploy("-p", "qa1")).toMatchObject({ changed: false });

  const first = await run(...broken, "-n", "fresh");
  expect(first.code).toBe(6);
  expect(first.stderr).toContain("nothing of payments is left");
  const left = await client.list(secrets, "fresh", { labelSelector: "owner=helm" });
  expect(left.items).toEqual([]);
});

test("a killed deployment is finished by the next one, and is nothing to go back to", async () => {
  const child = kws.spawn(["deploy", "payments", "-p", "qa1", "--set", "health.ready=/nowhere"], shop);
  await untilRevision(child, "qa1", (now) => now.status === "deployed" && now.ready === undefined);
  await kill(child);
  expect(await unpacked()).toHaveLength(1);
  const failed = await run("-p", "qa1", "--set", "health.ready=/neither", "--timeout", "5s");
  expect(await unpacked()).toEqual([]);
  expect(failed.stderr).toContain("payments runs 1.1.0");
  expect(await status("qa1")).toMatchObject({ state: "ready", version: "1.1.0" });
});

/** Until the newest revision is so; the deployment that makes it must not end before. */
async function untilRevision(
  child: ChildProcess,
  namespace: string,
  done: (newest: { status: string | undefined; ready: string | undefined }) => boolean,
): Promise<void> {
  while (child.exitCode === null) {
    const { items } = await client.list(secrets, namespace, { labelSelector: "owner=helm,name=payments" });
    const labels = items.map(({ metadata }) => metadata.labels ?? {});
    const [newest] = labels.sort((a, b) => Number(b["version"]) - Number(a["version"]));
    if (newest !== undefined && done({ status: newest["status"], ready: newest["kws.dev/workloads"] }))
      return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`the deployment ended with ${child.exitCode}`);
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

test("what is not as it should be is refused before the cluster is touched", async () => {
  const attempts: [args: string[], code: number, message: string][] = [
    [["-p", "qa1", "--version", "9.0.0"], 5, "9.0.0"],
    [["-p", "qa9"], 5, 'no profile "qa9"'],
    [[], 2, "--profile"],
    [["-p", "qa1", "--set", "image.digest=sha256:0"], 4, "pins the image"],
    [["-p", "qa1", "--set", "config.A=ENC[AES256_GCM,data:x]"], 4, "config.A is still encrypted"],
  ];
  for (const [args, code, message] of attempts) {
    const result = await run("-n", "untouched", ...args);
    expect(result.code, result.stderr).toBe(code);
    expect(result.stderr).toContain(message);
  }
  await using stranger = await newKws();
  await cp(join(kws.home, ".local/share/kws/packages"), join(stranger.home, ".local/share/kws/packages"), {
    recursive: true,
  });
  const locked = await stranger.run(["deploy", "payments", "-p", "qa1"], { cwd: shop });
  expect(locked.code, locked.stderr).not.toBe(0);
  expect(locked.stderr).toContain("secrets.yaml");
  const dry = await stranger.run(["deploy", "payments", "-p", "local", "--dry-run", "-o", "json"], {
    cwd: shop,
  });
  expect(dry.code, dry.stderr).toBe(0);
  expect(JSON.parse(dry.stdout)).toMatchObject({
    compared: false,
    objects: expect.arrayContaining([
      { kind: "Deployment", name: "payments", change: "created", fields: [] },
    ]),
  });
  expect(await stranger.json("cluster", "list")).toEqual([]);
  expect(await client.find(namespaces, "untouched")).toBeUndefined();
});

test("a chart that puts an encrypted file into a manifest is refused, also inside base64 and in a hook", async () => {
  const template = join(chart, "templates/leak.yaml");
  const file = '.Files.Get "profiles/qa/secrets.yaml"';
  const metadata = "metadata: { name: leak, annotations: { helm.sh/hook: pre-install } }";
  const leaks = [
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: leak }\ndata:\n  file: {{ ${file} | quote }}\n`,
    `apiVersion: v1\nkind: Secret\n${metadata}\ndata:\n  file: {{ ${file} | b64enc }}\n`,
  ];
  for (const [index, leak] of leaks.entries()) {
    await writeFile(template, leak);
    await pack(`2.0.${index}`);
    const result = await run("-p", "qa1", "-n", "untouched", "--version", `2.0.${index}`);
    expect(result.code, result.stderr).toBe(4);
    expect(result.stderr).toContain("payments/templates/leak.yaml renders values that are still encrypted");
  }
  git("rm", "--quiet", "--force", template);
  git("commit", "--quiet", "--message", "Without the leak");
  expect(await client.find(namespaces, "untouched")).toBeUndefined();
});

test.each([
  [401, 7],
  [404, 5],
  [429, 1],
  [500, 1],
])("a registry that answers %s ends it with %i, and nothing is installed", async (answer, code) => {
  const server = createServer((_request, response) => {
    response.writeHead(answer, { "retry-after": "0" }).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const registry = `127.0.0.1:${(server.address() as AddressInfo).port}/team`;
  const result = await run("-p", "qa1", "-n", "untouched", "--registry", registry, "--version", "1.0.0");
  close(server);
  expect(result.code, result.stderr).toBe(code);
  expect(result.stderr).toContain("fix");
  expect(await client.find(namespaces, "untouched")).toBeUndefined();
});

const missing = registryMissing(process.env);

test.skipIf(missing !== undefined)(
  `a registry gives the package, wants a login, or dies in the middle, and then nothing is installed ${missing ?? ""}`,
  async () => {
    await using registry = await startDockerRegistry(process.env);
    await bring(registry.host, "1.0.1");
    await bring(registry.host, "1.0.2", new Map([["payments/noise.bin", randomBytes(4 * 2 ** 20)]]));
    const from = (host: string, version: string) =>
      ["-p", "qa1", "--registry", `${host}/team`, "--version", version] as const;
    expect(await deploy(...from(registry.host, "1.0.1"))).toMatchObject({ version: "1.0.1", changed: true });

    await using locked = await startDockerRegistry(process.env, { login: true });
    const refused = await run("-n", "untouched", ...from(locked.host, "1.0.1"));
    expect(refused.code, refused.stderr).toBe(7);
    expect(refused.stderr).toContain(locked.host);

    await using wire = await wireTo(registry.host, { bytes: 2 ** 20, kill: () => registry.kill() });
    const died = await run("-n", "untouched", ...from(wire.host, "1.0.2"));
    expect(died.code, died.stderr).toBe(1);
    expect(died.stderr).toContain(wire.host);
    await wire.broken;

    expect(await client.find(namespaces, "untouched")).toBeUndefined();
    expect(await unpacked()).toEqual([]);
    expect(await status("qa1")).toMatchObject({ state: "ready", version: "1.0.1" });
  },
);

/** The package 1.0.0 as another version and with more files. Its images stay where they are. */
async function bring(host: string, version: string, more: ArchiveFiles = new Map()): Promise<void> {
  const store = await openPackageStore(join(kws.home, ".local/share/kws"));
  const { bytes } = await fetchArchive(store.repository("kws.local/shop/charts/payments"), "1.0.0");
  const files = new Map([...(await readArchive(bytes, "1.0.0")), ...more]);
  const metadata = Buffer.from(files.get("payments/Chart.yaml") ?? []).toString();
  const chartYaml = Buffer.from(metadata.replace("version: 1.0.0", `version: ${version}`));
  files.set("payments/Chart.yaml", chartYaml);
  const charts = openRegistries({ env: {} }).repository(`${host}/team/charts/payments`);
  const chart = { archive: await writeArchive(files, 0), chartYaml };
  await pushChart(charts, chart, { tag: version, overwrite: false });
}

/** A way to a server that does something, and ends, once so many bytes have come from there. */
async function wireTo(host: string, { bytes, kill: end }: { bytes: number; kill: () => Promise<void> }) {
  const [address = "", port] = host.split(":");
  const { promise: broken, resolve } = Promise.withResolvers<void>();
  let left = bytes;
  const server = createTcpServer((near) => {
    const far = connect(Number(port), address);
    near.on("error", () => far.destroy()).on("close", () => far.destroy());
    far.on("error", () => near.destroy()).on("close", () => near.destroy());
    near.pipe(far);
    far.on("data", (chunk) => {
      left -= chunk.length;
      if (left > 0) near.write(chunk);
      else void end().then(resolve);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    broken,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

/** Where packages are unpacked for Helm, one folder for each deployment at work. */
const unpacked = () => readdir(join(kws.home, ".local/share/kws/run"));

function close(server: Server): void {
  server.close();
  server.closeAllConnections();
}

test("a secret is nowhere but in the cluster: not in files, arguments, logs or results", async () => {
  const before = new Set(await readdir(tmpdir()));
  const seen = new Set<string>();
  const watching = new AbortController();
  const sampling = sampleArguments(seen, watching.signal);
  const said: Result[] = [];
  const debug = ["--log-level", "debug", "-o", "json"];
  said.push(await kws.run(["package", "payments", "--version", "1.2.0", ...debug], { cwd: shop }));
  const which = ["-p", "qa1", "--version", "1.2.0"];
  said.push(await run(...which, ...debug));
  said.push(await run(...which, "--set", "replicas=2", "--dry-run", ...debug));
  // One that the API server refuses, and one whose pods do not become ready.
  said.push(await run(...which, "--set", "resources=many", ...debug));
  said.push(await run(...which, "--set", "health.ready=/nowhere", "--timeout", "5s", ...debug));
  said.push(await kws.run(["service", "status", "payments", "--namespace", "qa1", ...debug]));
  said.push(await kws.run(["manifest", "build", "payments=1.2.0", "-p", "qa1", ...debug], { cwd: shop }));
  said.push(await kws.run(["manifest", "install", "shop", "-n", "together", ...debug], { cwd: shop }));
  said.push(await kws.run(["manifest", "values", "shop", ...debug], { cwd: shop }));
  expect(said.map(({ code }) => code)).toEqual([0, 0, 0, 1, 6, 0, 0, 0, 0]);
  await using registry = registryMissing(process.env) ? undefined : await startDockerRegistry(process.env);
  if (registry !== undefined) {
    const target = ["--registry", `${registry.host}/team`];
    const version = ["--version", "1.2.0"];
    for (const args of [["publish"], ["publish"], ["deploy", "-p", "qa1", "-n", "published", "--dry-run"]]) {
      said.push(await kws.run([...args, "payments", ...version, ...target, ...debug], { cwd: shop }));
    }
  }
  expect(said.slice(9).filter(({ code }) => code !== 0)).toEqual([]);
  const child = kws.spawn(["deploy", "payments", ...which, "--set", "health.ready=/neither"], shop);
  await untilRevision(child, "qa1", (now) => now.ready === undefined);
  await kill(child);
  watching.abort();
  await sampling;

  for (const { stdout, stderr } of said) {
    expect(stdout).not.toContain(canary);
    expect(stderr).not.toContain(canary);
  }
  // The samples were taken of the right processes.
  const lines = [...seen];
  expect(lines.some((line) => line.includes("helm") && line.includes("upgrade"))).toBe(true);
  expect(lines.filter((line) => line.includes(canary))).toEqual([]);

  // The killed one's, in which secrets are encrypted, is searched as well.
  expect(await unpacked()).toHaveLength(1);
  const own = (await readdir(tmpdir())).filter(
    (name) => !before.has(name) && /^kws-(manifest|package|registry)/.test(name),
  );
  const folders = [kws.home, ...own.map((name) => join(tmpdir(), name))];
  const hits = folders.flatMap((folder) =>
    filesWith(folder, [canary, Buffer.from(canary).toString("base64")]),
  );
  const elsewhere = hits.filter((path) => !path.startsWith(kws.clusterFolder()));
  expect(elsewhere).toEqual([]);
  expect(hits, "the cluster itself has it").not.toEqual([]);
});

/** The command lines of all processes that belong to this home, ten times a second. */
async function sampleArguments(seen: Set<string>, signal: AbortSignal): Promise<void> {
  for await (const _ of setInterval(100)) {
    if (signal.aborted) return;
    for (const pid of kws.processes()) {
      try {
        seen.add(readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " "));
      } catch (error) {
        // It has ended meanwhile.
        if (!(error instanceof Error)) throw error;
      }
    }
  }
}

function filesWith(folder: string, needles: string[]): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const content = readFileSync(path, "latin1");
      return needles.some((needle) => content.includes(needle));
    });
}

const manifest = (...args: string[]) => kws.run(["manifest", ...args, "-o", "json"], { cwd: shop });

interface Installed {
  oneRelease: boolean;
  reason: string;
  releaseBytes?: number;
  releaseLimit: number;
  services: Deployed[];
}

async function installManifest(...args: string[]): Promise<Installed> {
  const result = await manifest("install", ...args);
  expect(result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout) as Installed;
}

const releasesIn = async (namespace: string) => {
  const { items } = await client.list(secrets, namespace, { labelSelector: "owner=helm,status=deployed" });
  return new Set(items.map(({ metadata }) => metadata.labels?.["name"]));
};

/** Services after payments, each with a ConfigMap of that many random bytes. */
async function addServices(names: string[], bytes: number): Promise<void> {
  for (const name of names) {
    const folder = join(shop, name);
    await mkdir(join(folder, "chart/templates"), { recursive: true });
    await writeFile(join(folder, "kws.yaml"), `name: ${name}\ndependsOn: [payments]\n`);
    await writeFile(join(folder, "chart/Chart.yaml"), `apiVersion: v2\nname: ${name}\nversion: 1.0.0\n`);
    await writeFile(join(folder, "chart/data.txt"), randomBytes(bytes).toString("base64"));
    const data = 'data: { data: {{ .Files.Get "data.txt" | quote }} }\n';
    const configMap = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\n${data}`;
    await writeFile(join(folder, `chart/templates/${name}.yaml`), configMap);
  }
  const services = ["payments", ...names].map((name) => `./${name}`).join(", ");
  await writeFile(join(shop, "kws.yaml"), `name: shop\nservices: [${services}]\n`);
  git("add", "--all");
  git("commit", "--quiet", "--message", names.join(" and "));
  for (const name of names) {
    const packed = await kws.run(["package", name, "--version", "1.0.0"], { cwd: shop });
    expect(packed.code, packed.stderr).toBe(0);
  }
}

test("a manifest that fits is one release: its services are seen and restarted one by one, and changed together", async () => {
  await addServices(["till"], 100);
  const out = join(kws.home, "out");
  const built = await manifest("build", "till", "payments=1.0.0", "-p", "qa1", "--destination", out);
  expect(built.code, built.stderr).toBe(0);
  expect(JSON.parse(built.stdout)).toMatchObject({ name: "shop", number: 2, oneRelease: true });

  const installed = await installManifest("shop", "-n", "all");
  expect(installed).toMatchObject({
    oneRelease: true,
    services: [
      { service: "payments", version: "1.0.0", from: "", changed: true },
      { service: "till", version: "1.0.0", changed: true },
    ],
  });
  expect(await releasesIn("all")).toEqual(new Set(["shop"]));
  const { items } = await client.list(secrets, "all", { labelSelector: "owner=helm,name=shop" });
  const kept = Buffer.from(
    (items[0]?.["data"] as { release?: string } | undefined)?.release ?? "",
    "base64",
  ).length;
  expect(Math.abs(kept - (installed.releaseBytes ?? 0)), "what was measured is what Helm keeps").toBeLessThan(
    200,
  );

  expect(await status("all")).toMatchObject({ state: "ready", version: "1.0.0" });
  const logs = await kws.run(["service", "logs", "payments", "-n", "all"]);
  expect(logs.stdout).toContain("payments is listening");
  expect((await kws.run(["service", "restart", "payments", "-n", "all"])).code).toBe(0);
  for (const refused of [
    await run("-p", "qa1", "-n", "all", "--version", "1.1.0"),
    await manifest("install", "shop", "-n", "all", "--per-service"),
  ]) {
    expect(refused.code, refused.stderr).toBe(9);
  }
  expect(await installManifest(join(out, "shop-2.0.0.tgz"), "-n", "all")).toMatchObject({
    services: [{ changed: false }, { changed: false }],
  });

  await edit(join(chart, "values.yaml"), "ready: /readyz", "ready: /nowhere");
  await pack("3.0.0");
  for (const version of ["1.1.0", "3.0.0"]) {
    expect((await manifest("build", "till", `payments=${version}`, "-p", "qa1")).code).toBe(0);
  }
  expect((await installManifest("shop:3", "-n", "all")).services).toMatchObject([
    { service: "payments", from: "1.0.0", version: "1.1.0" },
    { service: "till" },
  ]);
  const failed = await manifest("install", "shop:4", "-n", "all", "--timeout", "5s");
  expect(failed.code, failed.stderr).toBe(6);
  expect(failed.stderr).toContain("shop runs 3.0.0 (revision 2) again");
  expect(await status("all")).toMatchObject({ state: "ready", version: "1.1.0" });

  const removed = await kws.run(["stack", "remove", "all", "--yes"], { cwd: shop });
  expect(removed.code, removed.stderr).toBe(0);
  expect(await client.find(namespaces, "all")).toBeUndefined();
});

test("one that is larger than Helm can keep is a release for each service, in the order of their dependencies", async () => {
  const bulky = ["one", "two", "three"];
  await addServices(bulky, 300_000);
  const built = await manifest("build", ...bulky, "payments=1.1.0", "-p", "qa1");
  expect(JSON.parse(built.stdout)).toMatchObject({ number: 5, oneRelease: false });
  const installed = await installManifest("shop:5", "-n", "waves");
  expect(installed).toMatchObject({ oneRelease: false, reason: expect.stringContaining("1024 KiB") });
  expect(installed.releaseBytes).toBeGreaterThan(installed.releaseLimit);
  expect(await releasesIn("waves")).toEqual(new Set(["payments", ...bulky]));

  // What would fit goes on with the releases that are there.
  expect(await installManifest("shop:3", "-n", "waves")).toMatchObject({ oneRelease: false });
  expect(await deployAll("waves")).toMatchObject({ changed: false });
  const failed = await manifest("install", "shop:4", "-n", "fails", "--per-service", "--timeout", "5s");
  expect(failed.code, failed.stderr).toBe(6);
  const left = await client.list(secrets, "fails", { labelSelector: "owner=helm" });
  expect(left.items, "what comes after a service that fails is not begun").toEqual([]);
});

const deployAll = (namespace: string) => deploy("-p", "qa1", "-n", namespace, "--version", "1.1.0");

test("plain Helm installs a manifest, with the secrets on standard input", async () => {
  const { helm } = await kws.json<{ helm: { path: string } }>("version");
  const { kubeconfigPath } = await kws.cluster();
  const archive = join(kws.home, "out/shop-2.0.0.tgz");
  const args = [
    "install",
    "shop",
    archive,
    "--namespace=plain",
    "--create-namespace",
    "--wait",
    "--values=-",
  ];
  const install = (input: string) =>
    execFileSync(helm.path, args, {
      env: { HOME: kws.home, KUBECONFIG: kubeconfigPath, PATH: process.env["PATH"] },
      input,
      stdio: "pipe",
    });
  expect(() => install("")).toThrow("/payments/secrets/ADMIN_TOKEN");
  const hidden = await kws.run(["manifest", "values", archive], { cwd: shop });
  expect(hidden.stdout).not.toContain(canary);
  install((await kws.run(["manifest", "values", archive, "--reveal"], { cwd: shop })).stdout);
  const { items } = await client.list(secrets, "plain");
  const data = items.find(({ metadata }) => metadata.name === "payments-secrets")?.["data"] as
    | { ADMIN_TOKEN?: string }
    | undefined;
  expect(Buffer.from(data?.ADMIN_TOKEN ?? "", "base64").toString()).toBe(canary);
});
