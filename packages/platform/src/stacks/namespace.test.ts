import type { KubeClient } from "@kws/kube/client";
import { expect, test } from "vitest";
import type { Connection } from "../providers/provider.ts";
import { type Claim, ownRelease, refuseForeign } from "./namespace.ts";

/** What `kws` says of a release named `claim.release` where Helm has one with the labels. */
async function refusal(labels: Record<string, string>, claim: Claim): Promise<string> {
  const items = [
    { metadata: { name: "s", namespace: "qa", labels: { owner: "helm", version: "1", ...labels } } },
  ];
  const client = { list: () => Promise.resolve({ items, metadata: {} }) } as unknown as KubeClient;
  const where = { connection: { client } as Connection, stack: { name: "qa", namespace: "qa" } };
  try {
    await refuseForeign({ ...where, signal: new AbortController().signal }, [claim]);
    return "";
  } catch (error) {
    return String(error);
  }
}

const deployed = { status: "deployed", "kws.dev/stack": "qa" };
const own = { ...deployed, name: "api", "kws.dev/service": "api" };
const shared = { ...deployed, name: "shop", "version.kws.dev/api": "1.0.0", "version.kws.dev/web": "1.0.0" };
const together: Claim = { release: "shop", services: ["api", "web"], together: true };

test("a release goes on in the form that it has", async () => {
  expect(await refusal(own, ownRelease("api"))).toBe("");
  expect(await refusal(shared, together)).toBe("");
  expect(await refusal(shared, ownRelease("mailer"))).toBe("");
});

test("a service is not in two releases", async () => {
  expect(await refusal(shared, ownRelease("api"))).toContain("api is in the release shop");
  expect(await refusal({ ...shared, "kws.dev/stack": "other" }, ownRelease("api"))).toContain("shop");
  expect(await refusal({ ...shared, status: "pending-upgrade" }, ownRelease("api"))).toContain("shop");
  expect(await refusal(own, together)).toContain("api has a release of its own");
  expect(await refusal(shared, { ...together, release: "market" })).toContain("release shop");
});

test("a release of the same name that is somebody's is refused", async () => {
  expect(await refusal({ name: "api", status: "deployed" }, ownRelease("api"))).toContain("not made by kws");
  expect(await refusal({ ...own, "kws.dev/stack": "other" }, ownRelease("api"))).toContain("stack other");
});
