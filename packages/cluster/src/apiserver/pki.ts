/**
 * The cluster's keys and certificates, made on the first start and kept in the data folder: an authority, the server's
 * certificate, the administrator's client certificate, and the key that signs ServiceAccount tokens.
 */
import { createPrivateKey, webcrypto, X509Certificate, type KeyObject } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno } from "@kws/base/errors";
import { addresses } from "../network/state.ts";
import { provideReflection } from "./reflection.ts";

export interface Pki {
  caCertificate: string;
  caKey: string;
  serverCertificate: string;
  serverKey: string;
  adminCertificate: string;
  adminKey: string;
  serviceAccountKey: KeyObject;
}

const files = {
  caCertificate: "ca.crt",
  caKey: "ca.key",
  serverCertificate: "apiserver.crt",
  serverKey: "apiserver.key",
  adminCertificate: "admin.crt",
  adminKey: "admin.key",
  serviceAccountKey: "service-account.key",
} as const;

type Pems = Record<keyof typeof files, string>;

const day = 24 * 60 * 60 * 1000;
const lifetime = 10 * 365 * day;
/** Certificates are made anew when less than this is left. */
const renewal = 30 * day;

/** Reads the files, or makes them; all are readable by their owner alone. */
export async function loadPki(folder: string, now: number): Promise<Pki> {
  const stored = await readPems(folder);
  const pems =
    stored !== undefined && !endsSoon(stored, now) ? stored : await makePems(now, stored?.serviceAccountKey);
  if (pems !== stored) await writePems(folder, pems);
  const { serviceAccountKey, ...rest } = pems;
  return { ...rest, serviceAccountKey: createPrivateKey(serviceAccountKey) };
}

function endsSoon(pems: Pems, now: number): boolean {
  return [pems.caCertificate, pems.serverCertificate, pems.adminCertificate].some(
    (pem) => Date.parse(new X509Certificate(pem).validTo) < now + renewal,
  );
}

async function readPems(folder: string): Promise<Pems | undefined> {
  try {
    const entries = await Promise.all(
      Object.entries(files).map(async ([name, file]) => [name, await readFile(join(folder, file), "utf8")]),
    );
    return Object.fromEntries(entries) as Pems;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function writePems(folder: string, pems: Pems): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [name, file] of Object.entries(files) as [keyof Pems, string][]) {
    await replaceFile(join(folder, file), pems[name], { mode: 0o600 });
  }
}

const serverNames = [
  { type: "dns", value: "localhost" },
  { type: "dns", value: "kubernetes" },
  { type: "dns", value: "kubernetes.default" },
  { type: "dns", value: "kubernetes.default.svc" },
  { type: "dns", value: "kubernetes.default.svc.cluster.local" },
  { type: "ip", value: "127.0.0.1" },
  { type: "ip", value: addresses.apiServer },
  { type: "ip", value: addresses.node },
] as const;

/** The certificate library is loaded only here: a running cluster has no use for it. */
async function makePems(now: number, serviceAccountKey: string | undefined): Promise<Pems> {
  provideReflection();
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const [ca, server, admin, tokens] = await Promise.all([newKeys(), newKeys(), newKeys(), newKeys()]);
  const validity = { notBefore: new Date(now - day), notAfter: new Date(now + lifetime) };
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    name: "CN=kws-ca",
    keys: ca,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(ca.publicKey),
    ],
  });
  const issue = async (
    subject: string,
    publicKey: webcrypto.CryptoKey,
    usage: string,
    names: readonly { type: "dns" | "ip"; value: string }[],
  ) =>
    x509.X509CertificateGenerator.create({
      ...validity,
      subject,
      issuer: authority.subject,
      publicKey,
      signingKey: ca.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([usage]),
        await x509.AuthorityKeyIdentifierExtension.create(ca.publicKey),
        ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension([...names])] : []),
      ],
    });
  const serverCertificate = await issue(
    "CN=kube-apiserver",
    server.publicKey,
    x509.ExtendedKeyUsage.serverAuth,
    serverNames,
  );
  const adminCertificate = await issue(
    "CN=kubernetes-admin, O=system:masters",
    admin.publicKey,
    x509.ExtendedKeyUsage.clientAuth,
    [],
  );
  return {
    caCertificate: `${authority.toString("pem")}\n`,
    caKey: await pemOfKey(ca.privateKey),
    serverCertificate: `${serverCertificate.toString("pem")}\n`,
    serverKey: await pemOfKey(server.privateKey),
    adminCertificate: `${adminCertificate.toString("pem")}\n`,
    adminKey: await pemOfKey(admin.privateKey),
    serviceAccountKey: serviceAccountKey ?? (await pemOfKey(tokens.privateKey)),
  };
}

async function pemOfKey(key: webcrypto.CryptoKey): Promise<string> {
  const bytes = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}
