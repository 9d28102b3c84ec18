import { KubeClient } from "@kws/kube/client";
import { persistentVolumeClaims, secrets } from "@kws/kube/resources";
import { createMemoryApi } from "@kws/kube/testing/memory-api";
import { expect, test } from "vitest";
import { serviceLabel, stackLabel, workspaceLabel } from "../services/labels.ts";
import { keepClaim } from "./claims.ts";
import { findOrphans } from "./orphans.ts";

const { signal } = new AbortController();

async function setUp(): Promise<KubeClient> {
  const client = new KubeClient(createMemoryApi());
  const release = async (service: string, stack: string, workspace: string) => {
    const own = { [stackLabel]: stack, [serviceLabel]: service, [workspaceLabel]: workspace };
    const labels = { owner: "helm", name: service, version: "1", status: "deployed", ...own };
    const name = `sh.helm.release.v1.${service}.v1`;
    await client.create(secrets, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name, namespace: stack, labels },
    });
  };
  await release("orders", "shop", "shop");
  await release("ledger", "shop", "shop");
  await release("ledger", "other", "elsewhere");
  for (const claim of ["data-postgres-0", "data-unknown-0"]) {
    const metadata = { name: claim, namespace: "shop" };
    await client.create(persistentVolumeClaims, {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata,
    });
  }
  const kept = { service: "postgres", stack: "shop", namespace: "shop", workspace: "shop" };
  await keepClaim(client, { ...kept, claim: "data-postgres-0" });
  return client;
}

test("orphans are the workspace's own that it no longer names, with the volumes that were kept of them", async () => {
  const client = await setUp();
  const found = await findOrphans(client, { workspace: "shop", services: ["orders"], signal });
  expect(found).toEqual([
    { service: "ledger", stack: "shop", namespace: "shop", installed: true, volumes: [] },
    { service: "postgres", stack: "shop", namespace: "shop", installed: false, volumes: ["data-postgres-0"] },
  ]);
});

test("a stack narrows them, and what the workspace names is none", async () => {
  const client = await setUp();
  const all = { workspace: "shop", services: ["orders"], signal };
  expect(await findOrphans(client, { ...all, stack: "other" })).toEqual([]);
  const services = ["orders", "ledger", "postgres"];
  expect(await findOrphans(client, { ...all, services })).toEqual([]);
});
