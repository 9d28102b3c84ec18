import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { ownCertificate, tlsHostsOf } from "./certificates.ts";
import type { Ingress } from "./routes.ts";

const ingress = (name: string, creationTimestamp: string, tls: Ingress["spec"]["tls"] = []): Ingress => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "Ingress",
  metadata: { name, namespace: "ns", creationTimestamp },
  spec: { tls },
});

test("of two Ingresses that claim a host the older one has it, and a host goes before a wildcard", () => {
  const hosts = tlsHostsOf([
    ingress("younger", "2026-01-02T00:00:00Z", [{ hosts: ["*.a.test", "b.a.test"], secretName: "young" }]),
    ingress("older", "2026-01-01T00:00:00Z", [{ hosts: ["B.a.test"], secretName: "old" }]),
  ]);
  expect(hosts.map(({ host, secret }) => `${host} ${secret}`)).toEqual([
    "b.a.test ns/old",
    "b.a.test ns/young",
    "*.a.test ns/young",
  ]);
});

test("the Ingress's own certificate is kept, for its owner alone, and made anew before it ends", async () => {
  await using folder = await tempDir("kws-ingress");
  const now = Date.parse("2026-01-01T00:00:00Z");
  const first = await ownCertificate(folder.path, now);
  expect(new X509Certificate(first.cert).checkHost("localhost")).toBe("localhost");
  expect(await ownCertificate(folder.path, now)).toEqual(first);
  expect((await stat(join(folder.path, "ingress.key"))).mode & 0o777).toBe(0o600);
  const later = await ownCertificate(folder.path, Date.parse(new X509Certificate(first.cert).validTo));
  expect(later.cert).not.toBe(first.cert);
  expect(await readFile(join(folder.path, "ingress.crt"), "utf8")).toBe(later.cert);
});
