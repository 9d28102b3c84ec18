/**
 * Signs approved CertificateSigningRequests of the signers that every cluster has
 * (https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers). Left out:
 * `kubernetes.io/legacy-unknown`, approvals by the controller itself, and the removal of old requests.
 */
import { certificateSigningRequests } from "@kws/kube/resources";
import type { KubeObject } from "@kws/kube/object";
import { SigningError, type RequestedSubject } from "../apiserver/signing.ts";
import { conditionOf, withCondition, type Condition } from "./conditions.ts";
import { watch, type Controller, type ControllerContext } from "./context.ts";

interface CertificateSigningRequest extends KubeObject {
  /** `request` is base64 of PEM. */
  spec: { request: string; signerName: string; usages?: string[]; expirationSeconds?: number };
  status?: { certificate?: string; conditions?: Condition[] };
}

interface Signer {
  /** The usage that it signs for; each certificate may be used for signatures and key encipherment besides. */
  usage: "client auth" | "server auth";
  refuses(subject: RequestedSubject): string | undefined;
}

const signers: Record<string, Signer> = {
  "kubernetes.io/kube-apiserver-client": {
    usage: "client auth",
    refuses: ({ organizations }) =>
      organizations.includes("system:masters")
        ? "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        : undefined,
  },
  "kubernetes.io/kube-apiserver-client-kubelet": {
    usage: "client auth",
    refuses: (subject) =>
      refusesNode(subject) ?? (subject.names.length > 0 ? "subjectAltNames are not allowed" : undefined),
  },
  "kubernetes.io/kubelet-serving": {
    usage: "server auth",
    refuses(subject) {
      const isAddress = subject.names.every(({ type }) => type === "dns" || type === "ip");
      return (
        refusesNode(subject) ??
        (subject.names.length > 0 && isAddress
          ? undefined
          : "DNS or IP subjectAltNames are required, and no others are allowed")
      );
    },
  },
};

function refusesNode({ commonName, organizations }: RequestedSubject): string | undefined {
  if (organizations.length !== 1 || organizations[0] !== "system:nodes")
    return "subject organization is not system:nodes";
  return commonName.startsWith("system:node:")
    ? undefined
    : 'subject common name does not begin with "system:node:"';
}

const extraUsages = ["digital signature", "key encipherment"];
/** As upstream's default of `--cluster-signing-duration`. */
const longestMs = 365 * 24 * 60 * 60 * 1000;

export function certificateController(ctx: ControllerContext): Controller {
  const requests = ctx.resource<CertificateSigningRequest>(certificateSigningRequests);
  return {
    name: "certificate-signing-controller",
    watches: [watch(requests)],
    async reconcile({ name }) {
      const asked = requests.get(name);
      const signer = signers[asked?.spec.signerName ?? ""];
      if (asked === undefined || signer === undefined || !isWaiting(asked)) return;
      const { request, usages = [], expirationSeconds } = asked.spec;
      try {
        if (
          !usages.includes(signer.usage) ||
          usages.some((one) => one !== signer.usage && !extraUsages.includes(one))
        )
          throw new SigningError(
            `usages did not match: ${signer.usage} is needed, ${extraUsages.join(" and ")} may be there`,
          );
        const certificate = await ctx.sign({
          request: Buffer.from(request, "base64").toString(),
          usages,
          lifetimeMs: Math.min((expirationSeconds ?? Infinity) * 1000, longestMs),
          refuses: (subject) => signer.refuses(subject),
        });
        const status = { certificate: Buffer.from(certificate).toString("base64") };
        await requests.patch(asked, "merge", { status }, { subresource: "status" });
      } catch (error) {
        if (!(error instanceof SigningError)) throw error;
        const failed = {
          type: "Failed",
          status: "True",
          reason: "SignerValidationFailure",
          message: error.message,
        } as const;
        const conditions = withCondition(asked.status?.conditions, failed, ctx.now());
        await requests.patch(asked, "merge", { status: { conditions } }, { subresource: "status" });
      }
    },
  };
}

function isWaiting({ status }: CertificateSigningRequest): boolean {
  const is = (type: string): boolean => conditionOf(status?.conditions, type)?.status === "True";
  return !status?.certificate && is("Approved") && !is("Denied") && !is("Failed");
}
