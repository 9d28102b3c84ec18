/**
 * Admission webhooks: what programs outside of the server change in objects and refuse
 * (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/). Left out: CONNECT, rules that
 * match other versions of a kind (`matchPolicy` is always Exact), `reinvocationPolicy` and warnings. `matchConditions` are
 * refused where the configuration is written.
 */
import { randomUUID } from "node:crypto";
import { messageOf } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { matches, toRequirements, type LabelSelector } from "@kws/kube/selector";
import { ApiError, apiError, type Status } from "@kws/kube/status";
import { jsonPatch } from "../schema/index.ts";
import type { AdmissionContext } from "./context.ts";

/** `clientConfig` of a webhook. */
export interface WebhookClient {
  url?: string;
  service?: { namespace: string; name: string; path?: string; port?: number };
  /** Base64 of PEM; the system's authorities unless given. */
  caBundle?: string;
}

export interface WebhookContext extends AdmissionContext {
  dryRun: boolean;
  /** Posts JSON and answers the JSON that comes back; throws where there is none in time. */
  post(client: WebhookClient, body: object, timeoutMs: number): Promise<unknown>;
  setDefaults(object: KubeObject): void;
}

interface Rule {
  apiGroups?: string[];
  apiVersions?: string[];
  resources?: string[];
  operations?: string[];
  scope?: "Cluster" | "Namespaced" | "*";
}

interface Webhook {
  name: string;
  clientConfig: WebhookClient;
  rules?: Rule[];
  failurePolicy: "Fail" | "Ignore";
  namespaceSelector?: LabelSelector;
  objectSelector?: LabelSelector;
  timeoutSeconds: number;
}

interface Review {
  uid?: string;
  allowed?: boolean;
  status?: Partial<Status>;
  patch?: string;
  patchType?: string;
}

const group = "admissionregistration.k8s.io";

/**
 * Asks the mutating webhooks one after the other, by name of their configuration, then the validating ones at once. Changes
 * `object` in place; throws `ApiError` when one refuses, or cannot be asked and must be.
 */
export async function askWebhooks(context: WebhookContext): Promise<void> {
  // As upstream: nobody can lock himself out of mending a configuration.
  if (context.definition.group === group) return;
  for (const webhook of matching(context, "mutatingwebhookconfigurations")) {
    const review = await ask(context, webhook);
    if (review?.patch && context.object !== undefined) mutate(context, context.object, webhook, review);
  }
  await Promise.all(
    matching(context, "validatingwebhookconfigurations").map((webhook) => ask(context, webhook)),
  );
}

function matching(context: WebhookContext, resource: string): Webhook[] {
  const configurations = context.list({ group, version: "v1", resource, namespaced: false });
  return configurations
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .flatMap((configuration) => (configuration["webhooks"] ?? []) as Webhook[])
    .filter((webhook) => isAbout(context, webhook));
}

function isAbout(context: WebhookContext, webhook: Webhook): boolean {
  return (
    (webhook.rules ?? []).some((rule) => ruleMatches(context, rule)) &&
    isInNamespace(context, webhook.namespaceSelector) &&
    [context.object, context.old].some(
      (object) =>
        object !== undefined && matches(toRequirements(webhook.objectSelector ?? {}), object.metadata.labels),
    )
  );
}

function ruleMatches({ definition, operation, subresource }: WebhookContext, rule: Rule): boolean {
  const { group: own, version, resource, namespaced } = definition;
  const has = (list: string[] | undefined, value: string) =>
    (list ?? []).some((one) => one === "*" || one === value);
  const scope = rule.scope ?? "*";
  return (
    has(rule.apiGroups, own) &&
    has(rule.apiVersions, version) &&
    has(rule.operations, operation) &&
    (scope === "*" || (scope === "Namespaced") === namespaced) &&
    (rule.resources ?? []).some((one) => {
      const [wanted = "", part = ""] = one.split("/");
      if (wanted !== "*" && wanted !== resource) return false;
      return part === (subresource ?? "") || part === "*";
    })
  );
}

function isInNamespace(context: WebhookContext, selector: LabelSelector | undefined): boolean {
  const { definition, object, old } = context;
  const isNamespace = definition.group === "" && definition.resource === "namespaces";
  if (!definition.namespaced && !isNamespace) return true;
  const { metadata } = object ?? old ?? {};
  const namespaces = { group: "", version: "v1", resource: "namespaces", namespaced: false };
  const labels = isNamespace
    ? metadata?.labels
    : context.get(namespaces, metadata?.namespace ?? "")?.metadata.labels;
  return matches(toRequirements(selector ?? {}), labels);
}

/** Undefined where the webhook could not be asked and does not have to be. */
async function ask(context: WebhookContext, webhook: Webhook): Promise<Review | undefined> {
  const request = requestOf(context);
  let review: Review;
  try {
    const body = { kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1", request };
    const answer = await context.post(webhook.clientConfig, body, webhook.timeoutSeconds * 1000);
    review = (answer as { response?: Review } | null)?.response ?? {};
    if (review.uid !== request.uid) throw new Error("the response is not about the request");
  } catch (error) {
    if (webhook.failurePolicy === "Ignore") return undefined;
    throw failed(webhook, error);
  }
  if (review.allowed !== true) throw denied(webhook, review.status ?? {});
  return review;
}

function requestOf({ definition, operation, subresource, object, old, user, dryRun }: WebhookContext) {
  const { group: own, version, kind, resource } = definition;
  const { name = "", namespace } = (object ?? old)?.metadata ?? {};
  const subjects = {
    kind: { group: own, version, kind },
    resource: { group: own, version, resource },
    ...(subresource === undefined ? {} : { subResource: subresource }),
  };
  const options = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" }[operation];
  return {
    uid: randomUUID(),
    ...subjects,
    requestKind: subjects.kind,
    requestResource: subjects.resource,
    ...(subresource === undefined ? {} : { requestSubResource: subresource }),
    name,
    ...(namespace === undefined ? {} : { namespace }),
    operation,
    userInfo: { username: user.name, groups: user.groups },
    object: object ?? null,
    oldObject: old ?? null,
    dryRun,
    options: { kind: options, apiVersion: "meta.k8s.io/v1" },
  };
}

function mutate(context: WebhookContext, object: KubeObject, webhook: Webhook, review: Review): void {
  let next: KubeObject;
  try {
    if (review.patchType !== "JSONPatch") throw new Error(`unknown patch type "${review.patchType ?? ""}"`);
    const operations: unknown = JSON.parse(Buffer.from(review.patch ?? "", "base64").toString());
    if (!Array.isArray(operations)) throw new Error("a JSON patch is a list of operations");
    next = jsonPatch(object, operations);
  } catch (error) {
    throw failed(webhook, error);
  }
  const { name, namespace, uid } = object.metadata;
  for (const field of Object.keys(object)) delete object[field];
  Object.assign(object, next, { metadata: { ...next.metadata, name, namespace, uid } });
  context.setDefaults(object);
}

function failed(webhook: Webhook, error: unknown): ApiError {
  return apiError("InternalError", `failed calling webhook "${webhook.name}": ${messageOf(error)}`);
}

/** As upstream: a refusal is never taken for a success, and says who refused. */
function denied({ name }: Webhook, status: Partial<Status>): ApiError {
  const why = status.message || status.reason;
  const message = `admission webhook "${name}" denied the request${why ? `: ${why}` : " without explanation"}`;
  const code = Math.max(status.code ?? 400, 400);
  return new ApiError({
    ...status,
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    code,
  });
}
