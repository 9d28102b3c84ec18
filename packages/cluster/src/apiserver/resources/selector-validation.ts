/** Label selectors in specs. */
import type { StatusCause } from "@kws/kube/status";
import { forbidden, invalid, required } from "./cause.ts";
import { checkLabelValue, checkQualifiedName } from "./names.ts";
import { list } from "./loose.ts";
import type { Fields } from "./resource.ts";

export function validateLabelSelector(path: string, selector: Fields | undefined | null): StatusCause[] {
  if (!selector) return [];
  const causes: StatusCause[] = [];
  for (const [key, value] of Object.entries(selector["matchLabels"] ?? {})) {
    causes.push(...checkQualifiedName(key).map((detail) => invalid(`${path}.matchLabels`, key, detail)));
    causes.push(
      ...checkLabelValue(String(value)).map((detail) => invalid(`${path}.matchLabels`, value, detail)),
    );
  }
  for (const [index, expression] of list(selector["matchExpressions"]).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    const values: unknown[] = expression["values"] ?? [];
    switch (expression["operator"]) {
      case "In":
      case "NotIn":
        if (values.length === 0) {
          causes.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        break;
      case "Exists":
      case "DoesNotExist":
        if (values.length > 0) {
          causes.push(
            forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
          );
        }
        break;
      default:
        causes.push(invalid(`${at}.operator`, expression["operator"] ?? "", "not a valid selector operator"));
    }
    causes.push(
      ...checkQualifiedName(String(expression["key"] ?? "")).map((detail) =>
        invalid(`${at}.key`, expression["key"] ?? "", detail),
      ),
    );
  }
  return causes;
}
