/** The certificates that the Ingress shows: those of the Secrets that Ingresses name, and one of its own for all other hosts. */
import { webcrypto, X509Certificate } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext, type SecureContext } from "node:tls";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import { Informer } from "@kws/kube/informer";
import type { KubeObject } from "@kws/kube/object";
import { secrets } from "@kws/kube/resources";
import { provideReflection } from "../apiserver/reflection.ts";
import { byAge, matchesHost, rank, type Ingress } from "./routes.ts";

/** In PEM. */
export interface KeyPair {
  cert: string;
  key: string;
}

/** What an Ingress says about the certificate of a host. */
export interface TlsHost {
  /** As in a route: lower case, `*.example.com` for one label in place of the star, empty for any host. */
  host: string;
  /** `namespace/name`; undefined where the Ingress's own certificate was asked for. */
  secret: string | undefined;
  /** The Secret was named for no host in particular: it counts where its certificate is for the host. */
  ifCovered: boolean;
}

/**
 * In the order in which they are to be tried: hosts before wildcards, named ones before those that a rule of the same Ingress
 * implies, older Ingresses before younger ones.
 */
export function tlsHostsOf(ingresses: Ingress[]): TlsHost[] {
  const found = byAge(ingresses).flatMap(({ metadata, spec }) =>
    (spec.tls ?? []).flatMap(({ hosts = [], secretName }) => {
      const secret = secretName ? `${metadata.namespace}/${secretName}` : undefined;
      const ifCovered = hosts.length === 0;
      const named = ifCovered ? (spec.rules ?? []).map(({ host = "" }) => host) : hosts;
      return named.map((host) => ({ host: host.toLowerCase(), secret, ifCovered }));
    }),
  );
  return found.toSorted((a, b) => rank(a.host) - rank(b.host) || Number(a.ifCovered) - Number(b.ifCovered));
}

/** Each Secret is watched by itself. */
export class IngressCertificates {
  readonly #client: KubeClient;
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  readonly #informers = new Map<string, Informer>();
  readonly #contexts = new Map<string, { context: SecureContext; certificate: X509Certificate }>();
  #hosts: TlsHost[] = [];

  constructor(client: KubeClient, logger: Logger, signal: AbortSignal) {
    this.#client = client;
    this.#logger = logger;
    this.#signal = signal;
  }

  track(ingresses: Ingress[]): void {
    this.#hosts = tlsHostsOf(ingresses);
    const wanted = new Set(this.#hosts.flatMap(({ secret }) => secret ?? []));
    for (const [key, informer] of this.#informers) {
      if (wanted.has(key)) continue;
      informer.stop();
      this.#informers.delete(key);
      this.#contexts.delete(key);
    }
    for (const key of wanted) if (!this.#informers.has(key)) this.#watch(key);
  }

  /** Undefined where no Ingress says which, or the Secret holds none that can be used. */
  find(serverName: string): SecureContext | undefined {
    const name = serverName.toLowerCase();
    for (const { host, secret = "", ifCovered } of this.#hosts) {
      if (!matchesHost(host, name)) continue;
      const held = this.#contexts.get(secret);
      if (ifCovered && held?.certificate.checkHost(name) === undefined) continue;
      return held?.context;
    }
    return undefined;
  }

  #watch(key: string): void {
    const [namespace, name] = key.split("/");
    const informer = new Informer(this.#client, secrets, {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      logger: this.#logger,
      signal: this.#signal,
    });
    const read = (secret: KubeObject) => {
      try {
        const decode = (field: string) => Buffer.from(String(secret.data?.[field] ?? ""), "base64");
        const cert = decode("tls.crt");
        const context = createSecureContext({ cert, key: decode("tls.key") });
        this.#contexts.set(key, { context, certificate: new X509Certificate(cert) });
      } catch {
        // The error would quote the Secret; its name is enough.
        this.#contexts.delete(key);
        this.#logger.warn("Secret holds no usable certificate", { secret: key });
      }
    };
    informer.subscribe({ add: read, update: read, delete: () => this.#contexts.delete(key) });
    this.#informers.set(key, informer);
  }
}

const day = 24 * 60 * 60 * 1000;
const lifetime = 10 * 365 * day;
/** It is made anew when less than this is left. */
const renewal = 30 * day;

/** The certificate for hosts that no Ingress has one for: read from the folder, or made there. `now` in ms since the epoch. */
export async function ownCertificate(folder: string, now: number): Promise<KeyPair> {
  const files = { cert: join(folder, "ingress.crt"), key: join(folder, "ingress.key") };
  try {
    const [cert, key] = await Promise.all([readFile(files.cert, "utf8"), readFile(files.key, "utf8")]);
    if (Date.parse(new X509Certificate(cert).validTo) > now + renewal) return { cert, key };
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
  const made = await selfSigned(["localhost"], now);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // The certificate last: where it stands, its key does.
  await replaceFile(files.key, made.key, { mode: 0o600 });
  await replaceFile(files.cert, made.cert, { mode: 0o600 });
  return made;
}

/** The library is loaded only here: a cluster that has its certificate has no use for it. */
export async function selfSigned(names: string[], now: number): Promise<KeyPair> {
  provideReflection();
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${names[0] ?? ""}`,
    notBefore: new Date(now - day),
    notAfter: new Date(now + lifetime),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: "dns", value }))),
    ],
  });
  const key = x509.PemConverter.encode(
    await webcrypto.subtle.exportKey("pkcs8", keys.privateKey),
    "PRIVATE KEY",
  );
  return { cert: certificate.toString("pem"), key };
}
