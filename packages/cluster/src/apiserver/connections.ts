/** Admission of requests that connect to something instead of storing it: exec, attach, port-forwards and proxies. */
import { askOthers } from "./admission/others.ts";
import type { ServerContext } from "./context.ts";
import { apiVersionOf } from "./registry.ts";
import type { User } from "./request.ts";
import type { ResourceDefinition } from "./resources/resource.ts";
import { subresourcesOf } from "./subresources.ts";
import { admissionOf } from "./writing.ts";

/** Asks webhooks and policies about a request that connects to `name`; throws where one refuses. */
export async function admitConnection(
  context: ServerContext,
  definition: ResourceDefinition,
  subject: { name: string; namespace?: string; subresource: string },
  user: User,
  query: URLSearchParams,
): Promise<void> {
  const { name, namespace, subresource } = subject;
  const kind = subresourcesOf(definition).find((one) => one.name === subresource)?.kind ?? "";
  const options = { kind, apiVersion: apiVersionOf(definition), ...connectionOptions(query) };
  const mode = { user, subresource, dryRun: false };
  const admission = admissionOf(context, "CONNECT", definition, undefined, undefined, mode);
  await askOthers({ ...admission, connecting: { name, namespace, options } });
}

/** The query as the fields of a PodExecOptions and the like. */
function connectionOptions(query: URLSearchParams): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of query) {
    if (name === "command") fields[name] = query.getAll(name);
    else if (name === "ports")
      fields[name] = query
        .getAll(name)
        .flatMap((one) => one.split(","))
        .map(Number);
    else fields[name] = value === "true" ? true : value === "false" ? false : value;
  }
  return fields;
}
