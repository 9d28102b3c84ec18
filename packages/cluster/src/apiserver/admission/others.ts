/** The part of admission that others have a say in: mutating webhooks, then policies and validating webhooks. */
import { enforcePolicies } from "./policies.ts";
import { askMutatingWebhooks, askValidatingWebhooks, type WebhookContext } from "./webhooks.ts";

/** Changes `object` in place; throws `ApiError` when the request is refused. */
export async function askOthers(context: WebhookContext): Promise<void> {
  // As upstream: nobody can lock himself out of mending a configuration.
  if (context.definition.group === "admissionregistration.k8s.io") return;
  await askMutatingWebhooks(context);
  await enforcePolicies(context);
  await askValidatingWebhooks(context);
}
