/** The rules of a Job's spec, also within a CronJob. */
import type { StatusCause } from "@kws/kube/status";
import { invalid, nonNegative, oneOf, required } from "./cause.ts";
import type { Fields } from "./resource.ts";
import { validatePodTemplate } from "./template-validation.ts";

/** `template` for the job of a CronJob, whose selector does not exist yet and whose defaults come when it is made. */
export function validateJobSpec(
  owner: Fields,
  path: string,
  options: { template?: boolean } = {},
): StatusCause[] {
  const spec: Fields = owner["spec"] ?? {};
  const causes: StatusCause[] = [];
  for (const field of [
    "parallelism",
    "completions",
    "backoffLimit",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
  ]) {
    causes.push(...nonNegative(`${path}.${field}`, spec[field]));
  }
  const mode = spec["completionMode"];
  if (mode !== undefined) causes.push(...oneOf(`${path}.completionMode`, mode, ["Indexed", "NonIndexed"]));
  if (mode === "Indexed" && (spec["completions"] === undefined || spec["completions"] === null)) {
    causes.push(required(`${path}.completions`, "when completion mode is Indexed"));
  }
  if (mode !== "Indexed") {
    for (const field of ["backoffLimitPerIndex", "maxFailedIndexes"]) {
      if (spec[field] !== undefined && spec[field] !== null) {
        causes.push(invalid(`${path}.${field}`, spec[field], "requires indexed completion mode"));
      }
    }
  }
  if (options.template !== true && !spec["selector"]) causes.push(required(`${path}.selector`));
  const policies = spec["podFailurePolicy"] ? ["Never"] : ["Never", "OnFailure"];
  const template: Fields | undefined = spec["template"] ?? undefined;
  causes.push(...validatePodTemplate(template, `${path}.template`));
  const restart = template?.["spec"]?.restartPolicy;
  if (template !== undefined && !policies.includes(restart)) {
    const message = `Unsupported value: ${JSON.stringify(restart ?? "")}: supported values: "OnFailure", "Never"`;
    causes.push(
      spec["podFailurePolicy"]
        ? invalid(
            `${path}.template.spec.restartPolicy`,
            restart,
            'only "Never" is supported when podFailurePolicy is specified',
          )
        : { reason: "FieldValueNotSupported", message, field: `${path}.template.spec.restartPolicy` },
    );
  }
  return causes;
}
