/** Charts between helm and this client, by way of a real registry: each reads what the other has pushed. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { copy } from "@kws/oci/copy";
import { userCredentials } from "@kws/oci/credentials";
import { sha256 } from "@kws/oci/descriptor";
import { openLayout } from "@kws/oci/layout";
import { openRegistries } from "@kws/oci/registry";
import type { Repository } from "@kws/oci/repository";
import { login, registryMissing, startDockerRegistry } from "@kws/oci/testing/docker-registry";
import type { DockerRegistry } from "@kws/oci/testing/docker-registry";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unpackClients } from "../apiserver/testing/clients.ts";
import type { Clients } from "../apiserver/testing/clients.ts";

const missing = registryMissing(process.env);

describe.skipIf(missing !== undefined)(
  `helm's registry${missing === undefined ? "" : ` (${missing})`}`,
  () => {
    let clients: Clients;
    let registry: DockerRegistry;
    let charts: Repository;

    beforeAll(async () => {
      clients = await unpackClients("");
      registry = await startDockerRegistry(process.env, { login: true });
      const account = ["--username", login.username, "--password", login.password];
      await helm("registry", "login", registry.host, "--plain-http", ...account);
      // The client reads what that has left in the home folder.
      const env = { HOME: join(clients.folder, "home") };
      const registries = openRegistries({ env, credentials: userCredentials(env) });
      charts = registries.repository(`${registry.host}/charts/web`);
      await helm("create", "web");
      await helm("package", "web", "--version", "1.0.0+build.5");
    });
    afterAll(async () => {
      await registry?.[Symbol.asyncDispose]();
      await clients?.close();
    });

    async function helm(...args: string[]): Promise<string> {
      const { exitCode, stdout, stderr } = await clients.helm(args);
      expect(`${exitCode} ${stderr}`).toMatch(/^0 /);
      return `${stdout}\n${stderr}`;
    }

    test("a chart that helm has pushed is read, with helm's tag and digest", async () => {
      const said = await helm(
        "push",
        "web-1.0.0+build.5.tgz",
        `oci://${registry.host}/charts`,
        "--plain-http",
      );
      expect(await charts.tags()).toEqual(["1.0.0_build.5"]);
      const { descriptor, bytes } = await charts.manifest("1.0.0_build.5");
      expect(said).toContain(descriptor.digest);
      const manifest = JSON.parse(Buffer.from(bytes).toString("utf8"));
      expect(manifest.config.mediaType).toBe("application/vnd.cncf.helm.config.v1+json");
      const archive = await readFile(join(clients.folder, "web-1.0.0+build.5.tgz"));
      expect(manifest.layers[0].digest).toBe(sha256(archive));
    });

    test("a chart that was copied through a folder is pulled by helm, with the same bytes", async () => {
      const layout = await openLayout(join(clients.folder, "layout"));
      const { descriptor } = await charts.manifest("1.0.0_build.5");
      await copy(charts, layout.repository("charts/web"), descriptor, { tag: "1.0.0_build.5" });
      const env = { HOME: join(clients.folder, "home") };
      const registries = openRegistries({ env, credentials: userCredentials(env) });
      const other = registries.repository(`${registry.host}/copies/web`);
      await copy(layout.repository("charts/web"), other, descriptor, { tag: "1.0.0_build.5" });
      const into = ["--version", "1.0.0+build.5", "--destination", "home", "--plain-http"];
      expect(await helm("pull", `oci://${registry.host}/copies/web`, ...into)).toContain(descriptor.digest);
      expect(await readFile(join(clients.folder, "home", "web-1.0.0+build.5.tgz"))).toEqual(
        await readFile(join(clients.folder, "web-1.0.0+build.5.tgz")),
      );
    });
  },
);
