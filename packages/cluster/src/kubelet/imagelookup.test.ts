import { UserError } from "@kws/base/errors";
import { anonymous } from "@kws/oci/credentials";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Image, PullImage } from "../images/image.ts";
import { ImageLookup } from "./imagelookup.ts";
import type { ContainerRecord } from "./record.ts";

const remote = "registry.example.com/team/orders:latest";

let stored: Set<string>;
let pull: PullImage;
let pulls: number;
let events: string[];
let waits: number[];
let record: ContainerRecord;
let lookup: ImageLookup;
let ending: AbortController;

const imageOf = (reference: string): Image => ({ reference, digest: "d", config: {}, layers: [], size: 7 });

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
  stored = new Set();
  pulls = 0;
  events = [];
  waits = [];
  record = { runs: [] };
  ending = new AbortController();
  pull = async (reference) => imageOf(reference);
  lookup = new ImageLookup({
    images: {
      find: async (reference) => (stored.has(reference) ? imageOf(reference) : undefined),
      list: async () => [],
      remove: async () => {},
    },
    pull: (...args) => {
      pulls += 1;
      return pull(...args);
    },
    credentials: async () => anonymous,
    tell: (_container, _type, reason, message) => events.push(`${reason}: ${message}`),
    retryAfter: (milliseconds) => waits.push(milliseconds),
    signal: ending.signal,
  });
});
afterEach(() => vi.useRealTimers());

const find = (image: string, imagePullPolicy = "IfNotPresent") =>
  lookup.find({ name: "app", image, imagePullPolicy }, record);

/** Looks, and looks again when the pull that it began has ended. */
async function settle(image: string, policy?: string): Promise<Image | undefined> {
  const found = await find(image, policy);
  if (found !== undefined) return found;
  await vi.waitFor(() => expect(waits).toContain(0));
  return find(image, policy);
}

test("what is stored is used, and not pulled", async () => {
  stored.add(remote);
  expect(await find(remote)).toMatchObject({ reference: remote });
  expect(events).toEqual([`Pulled: Container image "${remote}" already present on machine`]);
  expect(pulls).toBe(0);
});

test("what is not stored is pulled, while the pod is looked after", async () => {
  const waiting = Promise.withResolvers<Image>();
  pull = () => waiting.promise;
  expect(await find(remote)).toBeUndefined();
  expect(await find(remote)).toBeUndefined();
  expect(pulls).toBe(1);
  waiting.resolve(imageOf(remote));
  await vi.waitFor(() => expect(waits).toContain(0));
  expect(await find(remote)).toMatchObject({ reference: remote });
  expect(events).toEqual([
    `Pulling: Pulling image "${remote}"`,
    `Pulled: Successfully pulled image "${remote}" in 0s. Image size: 7 bytes.`,
  ]);
});

test("Always asks the registry at every start, and does without what is stored where that fails", async () => {
  stored.add(remote);
  expect(await settle(remote, "Always")).toMatchObject({ reference: remote });
  expect(pulls).toBe(1);
  waits = [];
  pull = async () => {
    throw new Error("no route");
  };
  expect(await settle(remote, "Always")).toBeUndefined();
  expect(pulls).toBe(2);
  expect(record.waiting?.reason).toBe("ErrImagePull");
});

test("Always takes what was built here from here: its name has no registry to ask", async () => {
  stored.add("shop/web:latest");
  expect(await find("shop/web:latest", "Always")).toMatchObject({ reference: "shop/web:latest" });
  expect(pulls).toBe(0);
});

test("Never is not pulled", async () => {
  expect(await find(remote, "Never")).toBeUndefined();
  expect(record.waiting?.reason).toBe("ErrImageNeverPull");
  expect(pulls).toBe(0);
});

test("a failure is told with the registry's answer, backed off from, and tried again later", async () => {
  pull = async () => {
    throw new UserError("the registry forbids it (403)", { fix: "Log in." });
  };
  const failure = `Failed to pull image "${remote}": the registry forbids it (403). Log in.`;
  await settle(remote);
  expect(record.waiting).toEqual({ reason: "ErrImagePull", message: failure });
  vi.advanceTimersByTime(1000);
  await find(remote);
  const backOff = `Back-off pulling image "${remote}"`;
  expect(record.waiting).toEqual({
    reason: "ImagePullBackOff",
    message: `${backOff}: ErrImagePull: ${failure}`,
  });
  expect(events).toEqual([
    `Pulling: Pulling image "${remote}"`,
    `Failed: ${failure}`,
    "Failed: Error: ErrImagePull",
    `BackOff: ${backOff}`,
    "Failed: Error: ImagePullBackOff",
  ]);
  for (const seconds of [10, 20, 40]) {
    vi.advanceTimersByTime(seconds * 1000 - 2000);
    await find(remote);
    const before = pulls;
    vi.advanceTimersByTime(2000);
    waits = [];
    await settle(remote);
    expect(pulls).toBe(before + 1);
  }
});

test("an image that is stored meanwhile is found within a second, whatever the back-off", async () => {
  pull = async () => {
    throw new Error("no route");
  };
  await settle(remote);
  stored.add(remote);
  vi.advanceTimersByTime(1000);
  expect(await find(remote)).toMatchObject({ reference: remote });
});

test("a pod that ends gives up its pull, and tells nothing more", async () => {
  const begun = Promise.withResolvers<AbortSignal>();
  const ended = Promise.withResolvers<never>();
  pull = (_reference, { signal = AbortSignal.abort() }) => {
    signal.addEventListener("abort", () => ended.reject(signal.reason));
    begun.resolve(signal);
    return ended.promise;
  };
  await find(remote);
  await begun.promise;
  ending.abort(new Error("the pod ends"));
  await expect(ended.promise).rejects.toThrow("the pod ends");
  await find(remote);
  expect(record.waiting).toBeUndefined();
  expect(events).toEqual([`Pulling: Pulling image "${remote}"`]);
});
