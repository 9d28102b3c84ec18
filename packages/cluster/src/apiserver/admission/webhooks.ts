/**
 * Admission webhooks: what programs outside of the server change in objects and refuse
 * (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/). Left out: rules that match
 * other versions of a kind (`matchPolicy` is always Exact).
 */
import { messageOf } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { ApiError, apiError, type Status } from "@kws/kube/status";
import { forbidden } from "../failures.ts";
import { jsonPatch } from "../schema/index.ts";
import type { WebhookClient } from "../webhookclient.ts";
import {
  conditionsMet,
  requestOf,
  requestVariables,
  webhookVariables,
  type MatchCondition,
} from "./conditions.ts";
import { rulesMatch, selectorsMatch, subjectOf, type Rule, type Selectors } from "./matching.ts";
import type { PolicyContext } from "./policies.ts";

export interface WebhookContext extends PolicyContext {
  /** Posts JSON and answers the JSON that comes back; throws where there is none in time. */
  post(client: WebhookClient, body: object, timeoutMs: number): Promise<unknown>;
  setDefaults(object: KubeObject): void;
}

interface Webhook extends Selectors {
  name: string;
  clientConfig: WebhookClient;
  rules?: Rule[];
  matchConditions?: MatchCondition[];
  failurePolicy: "Fail" | "Ignore";
  timeoutSeconds: number;
  /** Of mutating ones. */
  reinvocationPolicy?: "Never" | "IfNeeded";
}

interface Review {
  uid?: string;
  allowed?: boolean;
  status?: Partial<Status>;
  warnings?: string[];
  patch?: string;
  patchType?: string;
}

const group = "admissionregistration.k8s.io";

/** One after the other, by name of their configuration. Changes `object` in place; throws as the validating ones do. */
export async function askMutatingWebhooks(context: WebhookContext): Promise<void> {
  const webhooks = matching(context, "mutatingwebhookconfigurations");
  const seen = new Map<Webhook, number>();
  let changes = 0;
  const change = async (webhook: Webhook): Promise<void> => {
    const review = await ask(context, webhook);
    if (review?.patch && context.object !== undefined) {
      mutate(context, context.object, webhook, review);
      changes++;
    }
    seen.set(webhook, changes);
  };
  for (const webhook of webhooks) await change(webhook);
  // Once more, where a later one has changed what it saw and it wants to know.
  for (const webhook of webhooks) {
    if (webhook.reinvocationPolicy === "IfNeeded" && seen.get(webhook) !== changes) await change(webhook);
  }
}

/** All at once. Throws `ApiError` when one refuses, or cannot be asked and must be. */
export async function askValidatingWebhooks(context: WebhookContext): Promise<void> {
  await Promise.all(
    matching(context, "validatingwebhookconfigurations").map((webhook) => ask(context, webhook)),
  );
}

function matching(context: WebhookContext, resource: string): Webhook[] {
  const configurations = context.list({ group, version: "v1", resource, namespaced: false });
  return configurations
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .flatMap((configuration) => (configuration["webhooks"] ?? []) as Webhook[])
    .filter((webhook) => rulesMatch(context, webhook.rules) && selectorsMatch(context, webhook));
}

/** The conditions come last, and see what webhooks before this one have made of the object. */
async function isAsked(context: WebhookContext, webhook: Webhook): Promise<boolean> {
  try {
    return await conditionsMet(webhook.matchConditions, webhookVariables, () => requestVariables(context));
  } catch (error) {
    if (webhook.failurePolicy === "Ignore") return false;
    const { name = "" } = subjectOf(context);
    throw forbidden(context.definition, name, messageOf(error));
  }
}

/** Undefined where the webhook is not to be asked, or could not be and does not have to be. */
async function ask(context: WebhookContext, webhook: Webhook): Promise<Review | undefined> {
  if (!(await isAsked(context, webhook))) return undefined;
  const request = {
    ...requestOf(context),
    object: context.object ?? context.connecting?.options ?? null,
    oldObject: context.old ?? null,
  };
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
  for (const warning of review.warnings ?? []) context.warn(warning);
  if (review.allowed !== true) throw denied(webhook, review.status ?? {});
  return review;
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
