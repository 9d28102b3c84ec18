/** Pods whose images are in a registry: Debian's docker-registry, a whole cluster, and kubectl. */
import { join } from "node:path";
import { silent } from "@kws/base/logger";
import { tempDir } from "@kws/base/tempdir";
import type { TempDir } from "@kws/base/tempdir";
import { copy } from "@kws/oci/copy";
import { mediaTypes } from "@kws/oci/descriptor";
import type { Descriptor } from "@kws/oci/descriptor";
import { ociArchitecture } from "@kws/oci/manifest";
import { openRegistries } from "@kws/oci/registry";
import { login, registryMissing, startDockerRegistry } from "@kws/oci/testing/docker-registry";
import type { DockerRegistry } from "@kws/oci/testing/docker-registry";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { unpackClients } from "../apiserver/testing/clients.ts";
import type { Clients } from "../apiserver/testing/clients.ts";
import { runCluster } from "../cluster.ts";
import type { Cluster } from "../cluster.ts";
import { ensureBaseImage } from "./base-image.ts";
import { openImageStore } from "./store.ts";
import type { LocalImageStore } from "./store.ts";

const missing = registryMissing(process.env);
const node = { path: process.execPath, version: process.versions.node };
const env = { PATH: process.env["PATH"] };

describe.skipIf(missing !== undefined)(
  `images of a registry${missing === undefined ? "" : ` (${missing})`}`,
  () => {
    let folder: TempDir;
    let builder: LocalImageStore;
    let image: Descriptor;
    let open: DockerRegistry;
    let closed: DockerRegistry;
    let cluster: Cluster;
    let clients: Clients;

    beforeAll(async () => {
      folder = await tempDir("kws-pull");
      [open, closed] = await Promise.all([
        startDockerRegistry(process.env),
        startDockerRegistry(process.env, { login: true }),
      ]);
      builder = await openImageStore(join(folder.path, "builder"));
      const { reference } = await ensureBaseImage(builder, node);
      const [name = "", tag = ""] = reference.split(":");
      const found = await builder.repository(name).resolve(tag);
      if (found === undefined) throw new Error(`${reference} is not there`);
      image = found;
      cluster = await runCluster({
        name: "pull",
        folder: join(folder.path, "cluster"),
        runtime: { name: "sandbox" },
        imagesFolder: join(folder.path, "images"),
        ingressPort: 0,
        node,
        env,
        logger: silent,
        now: Date.now,
      });
      clients = await unpackClients(cluster.kubeconfig);
    });
    afterAll(async () => {
      await clients?.close();
      await cluster?.stop("at once");
      await Promise.all([open, closed].map((registry) => registry?.[Symbol.asyncDispose]()));
      await folder[Symbol.asyncDispose]();
    });

    async function kubectl(...args: string[]): Promise<string> {
      const { exitCode, stdout, stderr } = await clients.kubectl(args);
      expect(`${exitCode} ${stderr}`).toMatch(/^0 /);
      return stdout;
    }
    const run = (name: string, reference: string, ...more: string[]) =>
      kubectl("run", name, `--image=${reference}`, ...more, "--command", "--", "node", "-p", "6 * 7");
    const waiting = async (name: string) => {
      const { status } = JSON.parse(await kubectl("get", "pod", name, "-o", "json"));
      return status.containerStatuses?.[0]?.state.waiting ?? {};
    };
    const answers = (name: string) =>
      vi.waitFor(async () => expect((await clients.kubectl(["logs", name])).stdout).toBe("42"), 50_000);

    test("a pod runs the image that an index has for this machine", async () => {
      const name = `${open.host}/team/answer`;
      const to = openRegistries({ env }).repository(name);
      await copy(builder.repository("kws.local/node"), to, image);
      const here = { ...image, platform: { os: "linux", architecture: ociArchitecture(process.arch) } };
      const there = { ...image, platform: { os: "linux", architecture: "mips" } };
      const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [there, here] };
      const { digest } = await to.pushManifest(Buffer.from(JSON.stringify(index)), index.mediaType, {
        tag: "1",
      });

      await run("answer", `${name}:1`, "--restart=Never");
      await answers("answer");
      const { status } = JSON.parse(await kubectl("get", "pod", "answer", "-o", "json"));
      expect(status.containerStatuses[0].imageID).toBe(`${name}@${digest}`);
      expect(await kubectl("events", "--for", "pod/answer")).toMatch(
        /Pulling image[^]*Successfully pulled image/,
      );
    });

    test("an image that its registry does not have is said to be missing, and backed off from", async () => {
      await run("absent", `${open.host}/team/absent:1`);
      await vi.waitFor(async () => expect((await waiting("absent")).reason).toBe("ImagePullBackOff"), 50_000);
      expect((await waiting("absent")).message).toContain(`${open.host} does not have it (404)`);
    });

    test("a registry with a password answers pods that bring it in a pull secret", async () => {
      const name = `${closed.host}/team/private`;
      const { username, password } = login;
      const to = openRegistries({ env, credentials: async () => ({ username, password }) }).repository(name);
      await copy(builder.repository("kws.local/node"), to, image, { tag: "1" });

      await run("stranger", `${name}:1`);
      await vi.waitFor(
        async () => expect((await waiting("stranger")).reason).toBe("ImagePullBackOff"),
        50_000,
      );
      expect((await waiting("stranger")).message).toContain("wants other credentials (401)");

      const account = [`--docker-server=${closed.host}`, `--docker-username=${username}`];
      await kubectl(
        "create",
        "secret",
        "docker-registry",
        "pull",
        ...account,
        `--docker-password=${password}`,
      );
      const overrides = JSON.stringify({ spec: { imagePullSecrets: [{ name: "pull" }] } });
      await run("friend", `${name}:1`, "--restart=Never", `--overrides=${overrides}`);
      await answers("friend");
    });
  },
);
