import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { containersContract } from "../../testing/runtime-contract.ts";
import { describeSandbox } from "../../testing/runtime-harness.ts";

describeSandbox("Containers", (h) => {
  const { run } = h;

  containersContract(h);

  test("root in a container becomes another user, unless the cluster is an ordinary user's: then it is refused", async () => {
    const tool = "/dev/.kws/ld.so --library-path /dev/.kws/lib /dev/.kws/bin/setpriv";
    const { id, log } = await run(["sh", "-c", `${tool} --reuid=1234 --clear-groups id -u 2>&1`]);
    expect(log).toMatch(h.rootless ? /Operation not permitted|Invalid argument/ : /^stdout F 1234\n$/);
    const { terminationMessagePath } = h.fixture.container(id, "pod", []);
    expect(readFileSync(terminationMessagePath, "utf8")).toMatch(h.rootless ? /runAsUser/ : /^$/);
  });

  test("a container over its memory limit is killed and says why; without a control group it has no limit", async () => {
    const limits = { memory: 32e6 };
    const { log } = await run(["cat", "/proc/self/cgroup"], { limits });
    const isLimited = /:(?:memory)?:.*\/kws-[0-9a-f]{12}\/pod\//.test(log);
    expect(isLimited || h.rootless).toBe(true);
    const big = ["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"];
    const { code, container } = await run(big, { limits });
    expect([code, container.oomKilled]).toEqual(isLimited ? [137, true] : [0, undefined]);
  });
});
