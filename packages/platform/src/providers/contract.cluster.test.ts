/** Every provider keeps the same contract: `embedded` and `kubeconfig` for real, the others with tools that are pretended. */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ToolName, toolNames } from "../project/provider-names.ts";
import { chooseProvider } from "./choose.ts";
import { detectProviders } from "./detect.ts";
import { embeddedProvider } from "./embedded.ts";
import { kubeconfigProvider } from "./kubeconfig.ts";
import type { Provider } from "./provider.ts";
import { type Abilities, providerContract } from "./testing/contract.ts";
import { toolProvider } from "./tool-provider.ts";
import { openTool } from "./tools.ts";
import { type FakeTool, fakeTool } from "./testing/fake-tool.ts";

let dir: TempDir;
/** The cluster that all pretended ones are. */
let real: Provider;
let kubeconfig: string;

beforeAll(async () => {
  dir = await tempDir("kws-providers");
  real = embeddedProvider({ name: "real", home: join(dir.path, "data"), env: process.env });
  ({ kubeconfigPath: kubeconfig = "" } = await real.start({}));
});
afterAll(async () => {
  await real.reset({ foreign: false });
  await dir[Symbol.asyncDispose]();
});

const userKubeconfig = () => join(dir.path, "home", ".kube", "config");

beforeAll(async () => {
  await mkdir(join(dir.path, "home", ".kube"), { recursive: true });
  await writeFile(userKubeconfig(), "apiVersion: v1\nkind: Config\ncurrent-context: mine # stays\n");
});

describe("embedded", () => {
  providerContract({ stops: true, builds: true, resets: "own" }, () => ({
    provider: () => embeddedProvider({ name: "other", home: join(dir.path, "data"), env: process.env }),
    folder: join(dir.path, "embedded"),
    userKubeconfig: userKubeconfig(),
  }));
});

describe("kubeconfig", () => {
  providerContract({ stops: false, builds: false, resets: "never" }, () => ({
    provider: () =>
      kubeconfigProvider({
        path: kubeconfig,
        allowContexts: ["kws-real"],
        userConfig: "",
        env: {},
        home: join(dir.path, "home"),
      }),
    folder: join(dir.path, "kubeconfig"),
    userKubeconfig: userKubeconfig(),
  }));
});

/** What may be done with the clusters of a tool. */
const tools: Record<ToolName, Abilities> = {
  "docker-desktop": { stops: false, builds: true, resets: "foreign" },
  k3d: { stops: true, builds: true, resets: "own" },
  k3s: { stops: true, builds: true, resets: "never" },
  kind: { stops: true, builds: true, resets: "own" },
  microk8s: { stops: true, builds: true, resets: "foreign" },
  minikube: { stops: true, builds: true, resets: "own" },
};

describe.each(toolNames)("%s", (name) => {
  let fake: FakeTool;
  let folder: string;
  const provider = (path = fake.bin): Promise<Provider> =>
    chooseProvider({
      provider: name,
      workspace: {},
      user: {},
      data: join(folder, "data"),
      userConfig: "",
      env: { PATH: path },
      home: join(folder, "home"),
    });
  let opened: Provider;
  beforeAll(async () => {
    folder = join(dir.path, name);
    fake = await fakeTool(name, folder, kubeconfig);
    await mkdir(join(folder, "home", ".kube"), { recursive: true });
    // Docker Desktop writes its context into the user's own file.
    await copyFile(join(folder, "kubeconfig"), join(folder, "home", ".kube", "config"));
    opened = await provider();
  });

  providerContract(tools[name], () => ({
    provider: () => opened,
    folder,
    userKubeconfig: join(folder, "home", ".kube", "config"),
  }));

  test.runIf(tools[name].stops)("one whose API server does not answer is restarted", async () => {
    const kubeconfigFile = (cluster: string) =>
      join(folder, "data", "providers", name, cluster, "kubeconfig");
    const tool = await openTool(name, {
      env: { PATH: fake.bin },
      home: join(folder, "home"),
      kubeconfig: kubeconfigFile,
    });
    const impatient = toolProvider(tool, {
      name: tool.only ?? "kws",
      named: false,
      folder: dirname(kubeconfigFile(tool.only ?? "kws")),
      builder: opened,
      env: {},
      patienceMs: 0,
    });
    await impatient.start({});
    await fake.setState("hung");
    expect(await opened.status()).toMatchObject({ state: "unreachable", problem: expect.any(String) });
    await fake.calls();
    const said: string[] = [];
    expect(await impatient.start({ onProgress: (line) => said.push(line) })).toMatchObject({
      state: "running",
    });
    expect(said.join("\n")).toContain("restarted");
    expect((await fake.calls()).join("\n")).toMatch(/(stop|killall)[^]*start/);
  });

  test.runIf(tools[name].resets === "own")("another of the same name is not taken for its own", async () => {
    await opened.start({});
    const record = join(folder, "data", "providers", name, "kws", "cluster.json");
    const { authority, ...rest } = JSON.parse(await readFile(record, "utf8")) as Record<string, unknown>;
    expect(authority).toMatch(/^sha256:/);
    await writeFile(record, JSON.stringify({ ...rest, authority: "sha256:of-one-that-is-gone" }));
    expect(await opened.status()).toMatchObject({ state: "running", managed: false });
    await fake.calls();
    await expect(opened.reset({ foreign: false })).rejects.toMatchObject({ code: "permission" });
    await expect(opened.stop()).rejects.toMatchObject({
      code: "conflict",
      fix: expect.stringContaining("--cluster kws"),
    });
    expect((await fake.calls()).join("\n")).not.toMatch(/ (delete|stop) /);
  });

  test("where the tool is missing, it is told how to get it", async () => {
    const missing = await provider(join(folder, "empty"));
    await expect(missing.status()).rejects.toMatchObject({ code: "tool-missing", fix: expect.any(String) });
  });

  test("no command was run that nobody recorded", async () => {
    expect(await fake.unexpected()).toBe("");
  });
});

test("the clusters of all tools are listed, and a broken tool spoils nothing but its own", async () => {
  const bins = await Promise.all(
    (["k3d", "minikube"] as const).map(async (name) => {
      const folder = join(dir.path, "list", name);
      await mkdir(folder, { recursive: true });
      const fake = await fakeTool(name, folder, kubeconfig);
      await fake.setState(name === "k3d" ? "running" : "stopped");
      return fake.bin;
    }),
  );
  const broken = join(dir.path, "list", "broken");
  await mkdir(broken, { recursive: true });
  await writeFile(join(broken, "microk8s"), "#!/bin/sh\necho snap is broken >&2\nexit 1\n", { mode: 0o755 });
  const found = await detectProviders({
    data: join(dir.path, "data"),
    env: { PATH: [...bins, broken].join(":") },
    home: dir.path,
  });
  const by = Object.fromEntries(found.map((one) => [one.provider, one]));
  expect(by["embedded"]?.clusters).toContainEqual(
    expect.objectContaining({ name: "real", state: "running" }),
  );
  expect(by["k3d"]).toMatchObject({ installed: true, version: "5.9.0" });
  expect(by["k3d"]?.clusters).toEqual([{ provider: "k3d", name: "kws", managed: false, state: "running" }]);
  expect(by["minikube"]?.clusters).toMatchObject([{ name: "kws", state: "stopped" }]);
  expect(by["microk8s"]).toMatchObject({
    installed: true,
    clusters: [],
    problem: expect.stringContaining("snap"),
  });
  expect(by["kind"]).toMatchObject({ installed: false, clusters: [] });
});
