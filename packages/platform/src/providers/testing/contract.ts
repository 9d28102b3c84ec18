/** What every provider does, whatever is behind it. A provider's test calls `providerContract`. */
import { existsSync } from "node:fs";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect, type ImageBuild, type Provider } from "../provider.ts";

export interface Contract {
  /** Makes the provider anew, as each command does. */
  provider: () => Provider;
  /** A folder for the test. */
  folder: string;
  /** The user's own kubeconfig, which nothing may change. */
  userKubeconfig: string;
}

export interface Abilities {
  /** False where the cluster is there before, and stays. */
  stops: boolean;
  /** False where images come from registries alone. */
  builds: boolean;
  /** Clusters that kws made, those of others too where that is meant, or none. */
  resets: "own" | "foreign" | "never";
}

/** The tests of one provider build on each other, in this order. */
export function providerContract({ stops, builds, resets }: Abilities, given: () => Contract): void {
  test.runIf(stops)("a cluster that does not run is told as that, with what starts it", async () => {
    const { provider } = given();
    expect(await provider().status()).toMatchObject({ state: "stopped", provider: provider().name });
    expect(await provider().stop()).toBe(false);
    await expect(provider().kubeconfig()).rejects.toMatchObject({
      code: "tool-missing",
      fix: expect.stringContaining("kws cluster start"),
    });
  });

  test("a start gives a cluster that answers, and another start the same one", async () => {
    const { provider } = given();
    const started = await provider().start({});
    expect(started).toMatchObject({ state: "running", provider: provider().name });
    expect(started.version).toMatch(/^v1\./);
    const again = await provider().start({});
    expect([again.apiUrl, again.startedAt]).toEqual([started.apiUrl, started.startedAt]);
    expect(await provider().status()).toMatchObject({ state: "running", apiUrl: started.apiUrl });
  });

  test("its kubeconfig leads to it, is for this user alone, and the user's own stays as it was", async () => {
    const { provider, userKubeconfig } = given();
    const before = await readFile(userKubeconfig, "utf8");
    const { path } = await provider().kubeconfig();
    expect((await stat(path)).mode & 0o077).toBe(0);
    const connection = await connect(provider());
    try {
      const list = await connection.client.request({ method: "GET", path: "/api/v1/namespaces" });
      expect(list["kind"]).toBe("NamespaceList");
    } finally {
      connection.close();
    }
    expect(await readFile(userKubeconfig, "utf8")).toBe(before);
  });

  test.runIf(builds)("an image that is built here is one that its nodes can run", async () => {
    const { provider, folder } = given();
    const build = await scratchBuild(folder);
    await provider().checkBuild(build, { incomplete: false });
    const image = await provider().buildImage(build, {});
    expect(image).toMatchObject({ repository: "kws.local/shop/orders", cached: false });
    const again = await provider().buildImage(build, {});
    expect(again).toEqual({ ...image, cached: true });
  });

  test.runIf(!builds)("a build is refused, with what to do instead", async () => {
    const { provider, folder } = given();
    const build = await scratchBuild(folder);
    const refused = { code: "config", fix: expect.stringMatching(/registry/) };
    await expect(provider().checkBuild(build, { incomplete: false })).rejects.toMatchObject(refused);
    await expect(provider().buildImage(build, {})).rejects.toMatchObject(refused);
  });

  test.runIf(stops)("a stop keeps the cluster, and a start brings it back", async () => {
    const { provider } = given();
    expect(await provider().stop()).toBe(true);
    expect(await provider().status()).toMatchObject({ state: "stopped" });
    expect(await provider().stop()).toBe(false);
    expect(await provider().start({})).toMatchObject({ state: "running" });
  });

  test.runIf(!stops)("a stop is refused", async () => {
    await expect(given().provider().stop()).rejects.toMatchObject({ code: "usage" });
  });

  test.runIf(resets === "own")("a reset removes what kws made, and leaves nothing", async () => {
    const { provider } = given();
    const { kubeconfigPath = "", managed } = await provider().status();
    expect(managed).toBe(true);
    expect(await provider().reset({ foreign: false })).toBe(true);
    expect(existsSync(kubeconfigPath)).toBe(false);
    expect(await provider().status()).toMatchObject({ state: "stopped" });
    expect(await provider().reset({ foreign: false })).toBe(false);
  });

  test.runIf(resets !== "own")("a reset of what kws did not make is refused", async () => {
    const { provider } = given();
    await expect(provider().reset({ foreign: false })).rejects.toMatchObject({
      code: expect.stringMatching(/^(permission|usage)$/),
      fix: expect.any(String),
    });
    expect(await provider().status()).toMatchObject({ state: "running", managed: false });
  });

  test.runIf(resets === "foreign")("it is done where that cluster is meant", async () => {
    expect(await given().provider().reset({ foreign: true })).toBe(true);
  });
}

async function scratchBuild(folder: string): Promise<ImageBuild> {
  const context = join(folder, "orders");
  await mkdir(context, { recursive: true });
  await writeFile(join(context, "Dockerfile"), 'FROM scratch\nCOPY app /app\nCMD ["/app"]\n');
  await writeFile(join(context, "app"), folder);
  const dockerfile = join(context, "Dockerfile");
  return { builder: "dockerfile", name: "shop/orders", context, dockerfile, args: {} };
}
