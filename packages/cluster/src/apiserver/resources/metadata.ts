/** The checks of `metadata` that every object passes, with upstream's words. */
import type { KubeObject, ObjectMeta } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import { forbidden, invalid, required, tooLong } from "./cause.ts";
import {
  checkDns1035Label,
  checkDns1123Label,
  checkDns1123Subdomain,
  checkLabelValue,
  checkPathSegment,
  checkQualifiedName,
  type NameCheck,
} from "./names.ts";
import { list } from "./loose.ts";
import type { ResourceDefinition } from "./resource.ts";

const nameChecks: Record<NonNullable<ResourceDefinition["nameFormat"]>, NameCheck> = {
  dns1123subdomain: checkDns1123Subdomain,
  dns1123label: checkDns1123Label,
  dns1035label: checkDns1035Label,
  path: checkPathSegment,
};

/** All annotations of an object together. */
const annotationLimit = 256 * 1024;

export function validateMetadata(object: KubeObject, definition: ResourceDefinition): StatusCause[] {
  const metadata: Partial<ObjectMeta> = object.metadata ?? {};
  const path = "metadata";
  const causes: StatusCause[] = [];
  const check = nameChecks[definition.nameFormat ?? "dns1123subdomain"];
  if (!metadata.name) causes.push(required(`${path}.name`, "name or generateName is required"));
  else causes.push(...check(metadata.name).map((detail) => invalid(`${path}.name`, metadata.name, detail)));
  if (definition.namespaced) {
    if (!metadata.namespace) causes.push(required(`${path}.namespace`));
    else {
      causes.push(
        ...checkDns1123Label(metadata.namespace).map((detail) =>
          invalid(`${path}.namespace`, metadata.namespace, detail),
        ),
      );
    }
  } else if (metadata.namespace) causes.push(forbidden(`${path}.namespace`, "not allowed on this type"));
  causes.push(...validateLabels(`${path}.labels`, metadata.labels));
  causes.push(...validateAnnotations(`${path}.annotations`, metadata.annotations));
  causes.push(...validateOwners(`${path}.ownerReferences`, metadata));
  for (const finalizer of metadata.finalizers ?? []) {
    causes.push(...validateFinalizer(`${path}.finalizers`, finalizer));
  }
  return causes;
}

export function validateLabels(
  path: string,
  labels: Record<string, string> | undefined | null,
): StatusCause[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) =>
    [
      checkQualifiedName(key).map((detail) => invalid(path, key, detail)),
      checkLabelValue(value ?? "").map((detail) => invalid(path, value, detail)),
    ].flat(),
  );
}

export function validateAnnotations(
  path: string,
  annotations: Record<string, string> | undefined | null,
): StatusCause[] {
  const entries = Object.entries(annotations ?? {});
  const causes = entries.flatMap(([key]) =>
    checkQualifiedName(key.toLowerCase()).map((detail) => invalid(path, key, detail)),
  );
  const size = entries.reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  );
  if (size > annotationLimit) causes.push(tooLong(path, annotationLimit));
  return causes;
}

function validateOwners(path: string, metadata: Partial<ObjectMeta>): StatusCause[] {
  const causes: StatusCause[] = [];
  let controllers = 0;
  for (const [index, owner] of list(metadata.ownerReferences).entries()) {
    for (const field of ["apiVersion", "kind", "name", "uid"]) {
      if (!owner[field])
        causes.push(
          invalid(
            `${path}[${index}].${field}`,
            "",
            `${field === "apiVersion" ? "version" : field} must not be empty`,
          ),
        );
    }
    if (owner["controller"] === true) controllers++;
  }
  if (controllers > 1) {
    causes.push(
      invalid(path, metadata.ownerReferences, "Only one reference can have Controller set to true"),
    );
  }
  return causes;
}

const plainFinalizers = new Set(["kubernetes", "orphan", "foregroundDeletion"]);

function validateFinalizer(path: string, finalizer: string): StatusCause[] {
  const causes = checkQualifiedName(finalizer).map((detail) => invalid(path, finalizer, detail));
  if (causes.length === 0 && !finalizer.includes("/") && !plainFinalizers.has(finalizer)) {
    causes.push(
      invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified"),
    );
  }
  return causes;
}
