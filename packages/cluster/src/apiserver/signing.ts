/** Certificates from requests (PKCS #10), signed by the cluster's authority. */
import { createPrivateKey, randomBytes, webcrypto } from "node:crypto";
import type { Pki } from "./pki.ts";
import { provideReflection } from "./reflection.ts";

export interface SigningRequest {
  /** PEM of the request. */
  request: string;
  /** Usages as a CertificateSigningRequest names them. */
  usages: string[];
  lifetimeMs: number;
  /** Says why what the request asks for is not signed; undefined where it is. */
  refuses: (subject: RequestedSubject) => string | undefined;
}

/** What a request asks to be called. */
export interface RequestedSubject {
  commonName: string;
  organizations: string[];
  /** Subject alternative names by their type: `dns`, `ip`, `email`, `url`, … */
  names: { type: string; value: string }[];
}

export class SigningError extends Error {
  override name = "SigningError";
}

/** Answers PEM; throws `SigningError` for what is no request, and for what is refused. */
export type CertificateSigner = (request: SigningRequest) => Promise<string>;

const day = 24 * 60 * 60 * 1000;
/** Clocks of others may be behind; as upstream. */
const backdateMs = 5 * 60 * 1000;

export function certificateSigner({ caCertificate, caKey }: Pki, now: () => number): CertificateSigner {
  return async ({ request, usages, lifetimeMs, refuses }) => {
    provideReflection();
    const x509 = await import("@peculiar/x509");
    const asked = await parse();
    const authority = new x509.X509Certificate(caCertificate);
    const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
    const der = createPrivateKey(caKey).export({ type: "pkcs8", format: "der" });
    const signingKey = await webcrypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
    const names = asked.extensions.find((one) => one instanceof x509.SubjectAlternativeNameExtension);
    const commonName = asked.subjectName.getField("CN")[0] ?? "";
    const organizations = asked.subjectName.getField("O");
    const reason = refuses({
      commonName,
      organizations,
      names: (names?.names.items ?? []).map(({ type, value }) => ({ type, value })),
    });
    if (reason !== undefined) throw new SigningError(reason);
    const extended = {
      "client auth": x509.ExtendedKeyUsage.clientAuth,
      "server auth": x509.ExtendedKeyUsage.serverAuth,
    };
    const flags = {
      "digital signature": x509.KeyUsageFlags.digitalSignature,
      "key encipherment": x509.KeyUsageFlags.keyEncipherment,
    };
    const keyUsage = Object.entries(flags).reduce(
      (sum, [name, flag]) => (usages.includes(name) ? sum | flag : sum),
      0,
    );
    const start = now();
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: randomBytes(16).toString("hex"),
      subject: asked.subjectName.toJSON(),
      issuer: authority.subject,
      publicKey: asked.publicKey,
      signingKey,
      signingAlgorithm: algorithm,
      notBefore: new Date(start - backdateMs),
      notAfter: new Date(Math.min(start + lifetimeMs, authority.notAfter.getTime() - day)),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        // One without any use would forbid them all.
        ...(keyUsage === 0 ? [] : [new x509.KeyUsagesExtension(keyUsage, true)]),
        new x509.ExtendedKeyUsageExtension(
          Object.entries(extended).flatMap(([name, oid]) => (usages.includes(name) ? [oid] : [])),
        ),
        await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
        ...(names === undefined ? [] : [names]),
      ],
    });
    return `${certificate.toString("pem")}\n`;

    async function parse() {
      let parsed: InstanceType<typeof x509.Pkcs10CertificateRequest>;
      try {
        parsed = new x509.Pkcs10CertificateRequest(request);
      } catch (error) {
        throw new SigningError("the request cannot be read", { cause: error });
      }
      if (!(await parsed.verify())) throw new SigningError("the request's signature is invalid");
      return parsed;
    }
  };
}
