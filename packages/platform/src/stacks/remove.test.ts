import { silent } from "@kws/base/logger";
import { Steps } from "@kws/base/steps";
import { KubeClient } from "@kws/kube/client";
import { createMemoryApi } from "@kws/kube/testing/memory-api";
import { expect, test } from "vitest";
import { recordStack } from "./record.ts";
import { removeStack } from "./remove.ts";

test("a stack that is installed in another namespace is not found, and it is said where it is", async () => {
  const client = new KubeClient(createMemoryApi());
  const { signal } = new AbortController();
  const record = {
    stack: "shop",
    namespace: "qa",
    workspace: "shop",
    services: ["orders"],
    whole: true,
    signal,
  };
  await recordStack(client, record);
  const remove = (stack: string, namespace: string) =>
    removeStack({
      stack,
      namespace,
      keepData: false,
      graph: [],
      connection: {
        client,
        transport: createMemoryApi(),
        kubeconfig: { path: "kubeconfig" },
        close: () => undefined,
      },
      helm: "helm",
      env: {},
      log: silent,
      steps: new Steps({ now: () => 0 }),
      signal,
      timeoutMs: 1000,
      clock: () => 0,
      holder: { user: "ann", host: "laptop", pid: 1 },
    });
  await expect(remove("shop", "production")).rejects.toMatchObject({
    code: "not-found",
    message: "the stack shop is not installed in the namespace production, but in qa",
    fix: "Name it: -n qa; or leave out -n, for all of them.",
  });
  await expect(remove("mail", "production")).rejects.toMatchObject({
    code: "not-found",
    message: "the stack mail is not installed",
  });
});
