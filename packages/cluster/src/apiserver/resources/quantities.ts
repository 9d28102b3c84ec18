/** Checks of lists of quantities, such as the requests of a container or the hard limits of a quota. */
import { isQuantity, toQuantity } from "@kws/kube/quantity";
import type { StatusCause } from "@kws/kube/status";
import { invalid } from "./cause.ts";
import type { Fields } from "./resource.ts";

/** Every value must parse and must not be negative. */
export function quantityCauses(path: string, quantities: Fields | undefined | null): StatusCause[] {
  return Object.entries(quantities ?? {}).flatMap(([name, value]) => {
    const field = `${path}[${name}]`;
    if (!isQuantity(value)) {
      return [
        invalid(
          field,
          value,
          "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
      ];
    }
    return toQuantity(value).nanos < 0n
      ? [invalid(field, String(value), "must be greater than or equal to 0")]
      : [];
  });
}
