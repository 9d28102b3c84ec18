import { KubeClient } from "@kws/kube/client";
import { leases } from "@kws/kube/resources";
import { createMemoryApi } from "@kws/kube/testing/memory-api";
import { expect, test } from "vitest";
import { claim, type ClaimOptions } from "./claim.ts";

function setUp() {
  const client = new KubeClient(createMemoryApi());
  return (user: string, more: Partial<ClaimOptions> = {}): ClaimOptions => ({
    client,
    namespace: "shop",
    holder: { user, host: user, pid: process.pid },
    signal: new AbortController().signal,
    clock: () => Date.UTC(2030, 0, 1),
    takeOver: false,
    ...more,
  });
}

test("the second is told who has the service, since when, and how to take it over", async () => {
  const options = setUp();
  await using _first = await claim("web", options("ann"));
  await expect(claim("web", options("bob"))).rejects.toMatchObject({
    code: "conflict",
    message: `ann@ann (process ${process.pid}) develops web since 2030-01-01T00:00:00Z`,
    fix: expect.stringContaining("kws service up web --take-over"),
  });
  await using _other = await claim("orders", options("bob"));
});

test("one that is taken over is had by the other, and stays so when the first ends", async () => {
  const options = setUp();
  const first = await claim("web", options("ann"));
  await using _second = await claim("web", options("bob", { takeOver: true }));
  await first[Symbol.asyncDispose]();
  const lease = await options("ann").client.get(leases, "kws-dev-web", "shop");
  expect(lease["spec"].holderIdentity).toMatch(/^bob@bob/);
});

test("what nobody has renewed for a minute is free", async () => {
  const options = setUp();
  await using _first = await claim("web", options("ann"));
  const later = () => Date.UTC(2030, 0, 1, 0, 1, 1);
  await using second = await claim("web", options("bob", { clock: later }));
  expect(second.signal.aborted).toBe(false);
});

test("a session of this machine that is suspended, and renews nothing, has its service still", async () => {
  const options = setUp();
  await using _first = await claim("web", options("ann"));
  const later = () => Date.UTC(2030, 0, 2);
  const here = { user: "bob", host: "ann", pid: process.ppid };
  await expect(claim("web", options("bob", { clock: later, holder: here }))).rejects.toThrow("develops web");
  await using _other = await claim("web", options("bob", { clock: later }));
});
