import { gzipSync } from "node:zlib";
import type { KubeClient } from "@kws/kube/client";
import { secrets } from "@kws/kube/resources";
import { expect, test } from "vitest";
import { profileLabel, stackLabel, workloadsLabel } from "../services/labels.ts";
import { runningValues } from "./running.ts";

interface Revision {
  status: string;
  /** It was ready once. */
  ready?: boolean;
  token: string;
  profile?: string;
}

/** A cluster that holds these revisions, the oldest first, and no workloads. */
function cluster(revisions: Revision[]): KubeClient {
  const objects = revisions.map(({ status, ready = false, token, profile = "qa" }, index) => {
    const release = JSON.stringify({
      chart: { values: { secrets: { TOKEN: "" } } },
      config: { secrets: { TOKEN: token } },
    });
    const data = Buffer.from(gzipSync(release).toString("base64")).toString("base64");
    const labels = {
      [stackLabel]: "shop",
      [profileLabel]: profile,
      name: "orders",
      status,
      version: String(index + 1),
      ...(ready ? { [workloadsLabel]: "1" } : {}),
    };
    return { metadata: { name: `v${index + 1}`, namespace: "shop", labels }, data: { release: data } };
  });
  const client = {
    list: async (resource: unknown) => ({ items: resource === secrets ? objects : [] }),
    find: async (_resource: unknown, name: string) => objects.find(({ metadata }) => metadata.name === name),
  };
  return client as unknown as KubeClient;
}

const place = { namespace: "shop", profile: "qa", service: "orders", signal: new AbortController().signal };

async function tokens(...revisions: Revision[]): Promise<unknown[]> {
  const values = await runningValues(cluster(revisions), place);
  return values.map((one) => (one["secrets"] as { TOKEN: string }).TOKEN);
}

const superseded = { status: "superseded", ready: true };

test("a release that is ready runs with its newest revision alone", async () => {
  expect(
    await tokens({ ...superseded, token: "a" }, { status: "deployed", ready: true, token: "b" }),
  ).toEqual(["b"]);
});

test("while a revision is not known to run, what it was to replace may, back to the last that did", async () => {
  const revisions = [
    { ...superseded, token: "a" },
    { ...superseded, token: "b" },
    { status: "failed", token: "c" },
    { status: "pending-upgrade", token: "d" },
  ];
  expect(await tokens(...revisions)).toEqual(["d", "c", "b"]);
});

test("a service without a release runs with nothing", async () => {
  expect(await tokens()).toEqual([]);
});

test("a release of another profile is refused", async () => {
  await expect(tokens({ status: "deployed", token: "a", profile: "local" })).rejects.toMatchObject({
    code: "conflict",
    message: "orders does not run in shop with the profile qa, but with local",
  });
});
