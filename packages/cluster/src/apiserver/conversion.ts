/**
 * Conversion webhooks: the other versions of a custom resource, made by a program outside of the server
 * (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#webhook-conversion).
 * Forms that were made once are kept with the object, so that all that shows objects can go on being synchronous.
 */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { messageOf } from "@kws/base/errors";
import { formatApiVersion, type KubeObject } from "@kws/kube/object";
import { apiError } from "@kws/kube/status";
import type { Stored } from "../storage/stored.ts";
import type { ServerContext } from "./context.ts";
import { apiVersionOf, hasForm, keepForm } from "./registry.ts";
import type { ConversionWebhook, ResourceDefinition } from "./resources/resource.ts";
import { postToWebhook } from "./webhookclient.ts";

/** As upstream. */
const timeoutMs = 30_000;

/** Makes the forms in which the definition shows these objects, where they are stored in another version. */
export async function ensureForms(
  context: ServerContext,
  definition: ResourceDefinition,
  items: readonly Stored[],
): Promise<void> {
  if (definition.conversion === undefined) return;
  const missing = items.map(({ object }) => object).filter((object) => !hasForm(definition, object));
  if (missing.length === 0) return;
  const converted = await convert(
    context,
    definition,
    definition.conversion,
    apiVersionOf(definition),
    missing,
  );
  for (const [index, object] of missing.entries())
    keepForm(definition, object, converted[index] as KubeObject);
}

/** The object in the version in which it is to be stored. */
export async function inStorageVersion(
  context: ServerContext,
  definition: ResourceDefinition,
  conversion: ConversionWebhook,
  object: KubeObject,
): Promise<KubeObject> {
  const wanted = formatApiVersion(definition.group, conversion.storageVersion);
  if (object.apiVersion === wanted) return object;
  const [converted] = await convert(context, definition, conversion, wanted, [object]);
  return converted as KubeObject;
}

async function convert(
  context: ServerContext,
  { group, kind }: ResourceDefinition,
  { client }: ConversionWebhook,
  desiredAPIVersion: string,
  objects: KubeObject[],
): Promise<KubeObject[]> {
  const uid = randomUUID();
  const request = { uid, desiredAPIVersion, objects };
  const body = { kind: "ConversionReview", apiVersion: "apiextensions.k8s.io/v1", request };
  try {
    const { response } = (await postToWebhook(context, client, body, timeoutMs)) as {
      response?: {
        uid?: string;
        result?: { status?: string; message?: string };
        convertedObjects?: KubeObject[];
      };
    };
    if (response?.uid !== uid) throw new Error("the response is not about the request");
    if (response.result?.status !== "Success") throw new Error(response.result?.message || "no reason given");
    const converted = response.convertedObjects ?? [];
    if (converted.length !== objects.length) {
      throw new Error(`returned ${converted.length} objects, expected ${objects.length}`);
    }
    return converted.map((one, index) => checked(one, objects[index] as KubeObject, desiredAPIVersion));
  } catch (error) {
    const from = objects[0]?.apiVersion ?? formatApiVersion(group, "");
    throw apiError(
      "InternalError",
      `conversion webhook for ${from}, Kind=${kind} failed: ${messageOf(error)}`,
    );
  }
}

/** Of the metadata, a conversion may change labels and annotations alone. */
function checked(converted: KubeObject, original: KubeObject, apiVersion: string): KubeObject {
  if (converted.apiVersion !== apiVersion) {
    throw new Error(`returned an object of ${converted.apiVersion}, expected ${apiVersion}`);
  }
  if (converted.kind !== original.kind)
    throw new Error(`returned a ${converted.kind}, expected a ${original.kind}`);
  for (const field of ["name", "namespace", "uid"] as const) {
    if (!isDeepStrictEqual(converted.metadata?.[field], original.metadata[field])) {
      throw new Error(`returned an object with another metadata.${field}`);
    }
  }
  const { labels, annotations } = converted.metadata;
  return { ...converted, metadata: { ...original.metadata, labels, annotations } };
}
