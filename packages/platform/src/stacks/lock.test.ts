import { Steps } from "@kws/base/steps";
import { KubeClient } from "@kws/kube/client";
import { createMemoryApi } from "@kws/kube/testing/memory-api";
import { leases } from "@kws/kube/resources";
import { expect, test } from "vitest";
import { identityOf } from "../services/lease.ts";
import { lockStack, type LockOptions } from "./lock.ts";

function setUp(): { client: KubeClient; options: (more?: Partial<LockOptions>) => LockOptions } {
  const client = new KubeClient(createMemoryApi());
  const options = (more: Partial<LockOptions> = {}): LockOptions => ({
    client,
    stack: "shop",
    namespace: "shop",
    holder: { user: "ann", host: "one", pid: process.pid },
    steps: new Steps({ now: () => 0 }),
    signal: new AbortController().signal,
    timeoutMs: 60_000,
    clock: () => Date.now(),
    ...more,
  });
  return { client, options };
}

const other = { user: "bob", host: "two", pid: process.pid };

test("a stack that somebody changes is refused with who it is, and is free afterwards", async () => {
  const { client, options } = setUp();
  {
    await using _lock = await lockStack(options());
    const refused = lockStack(options({ holder: other, timeoutMs: -1 }));
    await expect(refused).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining(`ann@one (process ${process.pid})`),
    });
  }
  expect(await client.find(leases, "kws-stack-shop", "shop")).toBeUndefined();
  await using lock = await lockStack(options({ holder: other }));
  expect(lock.signal.aborted).toBe(false);
});

test("the second waits until the first is done", async () => {
  const { options } = setUp();
  const first = await lockStack(options());
  const order: string[] = [];
  const steps = new Steps({
    now: () => 0,
    onEvent: ({ kind, id }) => {
      order.push(`${id} ${kind}`);
      if (kind === "start") void first[Symbol.asyncDispose]().then(() => order.push("released"));
    },
  });
  await using _second = await lockStack(options({ holder: other, steps }));
  expect(order).toEqual(["lock start", "released", "lock done"]);
});

test("a holder of this machine that is gone holds nothing, one of another machine does until its time is over", async () => {
  const { client, options } = setUp();
  const lease = (holderIdentity: string) => ({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: "kws-stack-shop", namespace: "shop" },
    spec: { holderIdentity, leaseDurationSeconds: 15 },
  });
  // The start of a process is part of who it is: this one has another.
  const gone = identityOf(options().holder).replace(/\/\d+$/, "/1");
  await client.create(leases, lease(gone));
  await (await lockStack(options({ timeoutMs: -1 })))[Symbol.asyncDispose]();

  await client.create(leases, lease(gone.replace("@one", "@elsewhere")));
  await expect(lockStack(options({ timeoutMs: -1 }))).rejects.toMatchObject({ code: "conflict" });
  let now = 0;
  const clock = () => (now += 10_000);
  await using taken = await lockStack(options({ clock, timeoutMs: 1_000_000 }));
  expect(taken.signal.aborted).toBe(false);
});
