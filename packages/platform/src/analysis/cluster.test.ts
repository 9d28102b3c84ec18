import { expect, test } from "vitest";
import type { Transport } from "@kws/kube/transport";
import { skewFindings } from "./cluster.ts";

function answering(date: string): Transport {
  const none: Uint8Array[] = [];
  return {
    request: async () => ({
      status: 200,
      headers: { date },
      body: (async function* () {
        yield* none;
      })(),
    }),
  };
}

test("clocks that agree, differ, and differ too much", async () => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  const signal = AbortSignal.timeout(5000);
  const at = async (ms: number) => {
    const transport = answering(new Date(now + ms).toUTCString());
    return (await skewFindings({ transport }, () => now, signal)).map(
      ({ severity, message }) => `${severity} ${message}`,
    );
  };
  expect(await at(0)).toEqual(["ok this clock and the API server's agree"]);
  expect(await at(20_000)).toEqual([expect.stringMatching(/^warning this clock is 20\.\d s behind/)]);
  expect(await at(-3_600_000)).toEqual([
    expect.stringMatching(/^error this clock is 1h0m|^error this clock is 59m/),
  ]);
});
