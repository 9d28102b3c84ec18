import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { services } from "@kws/kube/resources";
import { expect, test } from "vitest";
import { serverFixture } from "./testing/fixture.ts";

const api = serverFixture();

test("keys and storage are readable by their owner alone", async () => {
  for (const file of await readdir(join(api.dataDir, "pki"))) {
    expect((await stat(join(api.dataDir, "pki", file))).mode & 0o077).toBe(0);
  }
});

test("storage and the socket are their owner's alone, whatever the umask", async () => {
  for (const file of await readdir(api.dataDir)) {
    expect([file, (await stat(join(api.dataDir, file))).mode & 0o077]).toEqual([file, 0]);
  }
});

test("the API server's own Service has the first address", async () => {
  expect((await api.client.get(services, "kubernetes", "default")).spec.clusterIP).toBe("10.96.0.1");
});
