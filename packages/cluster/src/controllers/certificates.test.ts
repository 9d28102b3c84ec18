import { KeyObject, webcrypto, X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silent } from "@kws/base/logger";
import type { KubeObject } from "@kws/kube/object";
import { certificateSigningRequests } from "@kws/kube/resources";
import { provideReflection } from "../apiserver/reflection.ts";
import { startTestServer, type TestServer } from "../apiserver/testing/server.ts";
import { startControllers } from "./index.ts";

let stop: AbortController;
let api: TestServer;

beforeEach(async () => {
  stop = new AbortController();
  api = await startTestServer();
  await startControllers({
    client: api.client,
    logger: silent,
    now: Date.now,
    signal: stop.signal,
    rootCa: api.server.caCertificate,
    sign: api.server.sign,
    volumesDir: "/nowhere",
  });
});
afterEach(() => {
  stop.abort();
  return api.close();
});

/** PEM of a new key, and of a request with it. */
async function requestFor(subject: string, dnsName?: string): Promise<{ request: string; key: string }> {
  provideReflection();
  const x509 = await import("@peculiar/x509");
  const signingAlgorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(signingAlgorithm, true, ["sign", "verify"]);
  const extensions =
    dnsName === undefined
      ? []
      : [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: dnsName }])];
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subject,
    keys,
    signingAlgorithm,
    extensions,
  });
  const key = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" });
  return { request: request.toString("pem"), key: String(key) };
}

/** Asks for a certificate, and approves. */
async function ask(signer: string, request: string, usages: string[], more: object = {}): Promise<void> {
  const created = await api.client.create(certificateSigningRequests, {
    apiVersion: "certificates.k8s.io/v1",
    kind: "CertificateSigningRequest",
    metadata: { name: "one" },
    spec: {
      request: Buffer.from(request).toString("base64"),
      signerName: `kubernetes.io/${signer}`,
      usages,
      ...more,
    },
  });
  const conditions = [{ type: "Approved", status: "True", reason: "Test", message: "fine" }];
  await api.client.update(
    certificateSigningRequests,
    { ...created, status: { conditions } },
    { subresource: "approval" },
  );
}

/** What has become of it. */
async function outcome(): Promise<KubeObject["status"]> {
  return vi.waitFor(async () => {
    const { status } = await api.client.get(certificateSigningRequests, "one");
    const failed = (status.conditions as { type: string }[]).some(({ type }) => type === "Failed");
    expect(failed || status.certificate !== undefined).toBe(true);
    return status;
  });
}

test("an approved request becomes a client certificate of the cluster's authority", async () => {
  const { request, key } = await requestFor("CN=jane, O=dev");
  await ask("kube-apiserver-client", request, ["client auth"], { expirationSeconds: 3600 });
  const { certificate } = await outcome();
  const cert = Buffer.from(certificate as string, "base64");
  const made = new X509Certificate(cert);
  expect(made.verify(new X509Certificate(api.server.caCertificate).publicKey)).toBe(true);
  expect(made.subject).toBe("CN=jane\nO=dev");
  expect(made.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
  expect(made.validToDate.getTime()).toBeLessThanOrEqual(Date.now() + 3_600_000);
  const asking = get(`${api.server.url}/api`, { ca: api.server.caCertificate, cert, key, agent: false });
  const [answer] = (await once(asking, "response")) as [IncomingMessage];
  answer.resume();
  expect(answer.statusCode).toBe(200);
});

test("a serving certificate of a node has the names that were asked for", async () => {
  const { request } = await requestFor("CN=system:node:a, O=system:nodes", "a.example.com");
  await ask("kubelet-serving", request, ["digital signature", "server auth"]);
  const { certificate } = await outcome();
  const made = new X509Certificate(Buffer.from(certificate as string, "base64"));
  expect(made.subjectAltName).toBe("DNS:a.example.com");
});

test.each([
  ["kube-apiserver-client", "CN=jane, O=system:masters", ["client auth"], "system:masters"],
  ["kube-apiserver-client", "CN=jane", ["server auth"], "usages did not match"],
  ["kubelet-serving", "CN=system:node:a, O=system:nodes", ["server auth"], "subjectAltNames are required"],
  ["kube-apiserver-client-kubelet", "CN=jane, O=dev", ["client auth"], "organization is not system:nodes"],
])("%s does not sign for %s with %j", async (signer, subject, usages, why) => {
  const { request } = await requestFor(subject);
  await ask(signer, request, usages);
  const { conditions, certificate } = await outcome();
  expect(certificate).toBeUndefined();
  expect(conditions).toContainEqual(
    expect.objectContaining({
      type: "Failed",
      reason: "SignerValidationFailure",
      message: expect.stringContaining(why) as string,
    }),
  );
});

test("what is no request is said to be none", async () => {
  await ask("kube-apiserver-client", "hello", ["client auth"]);
  expect((await outcome()).conditions).toContainEqual(
    expect.objectContaining({ message: "the request cannot be read" }),
  );
});
