/**
 * Label and field selectors: the string form of URLs and the object form of specs, parsed to requirements that match.
 * Grammar and matching from https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/.
 */

export interface Requirement {
  key: string;
  operator: "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt";
  values: string[];
}

/** The `selector` of a Deployment, a PodDisruptionBudget and so on. */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

export class SelectorError extends Error {
  override name = "SelectorError";
}

/** Parses `a=b,c!=d,e in (x,y),f notin (z),g,!h`. The empty string selects everything. */
export function parseSelector(text: string): Requirement[] {
  const requirements: Requirement[] = [];
  // One space for many: the expression below tries every way to share out a run of them.
  let rest = text.trim().replaceAll(/\s+/g, " ");
  while (rest !== "") {
    const match =
      /^(?:!\s*(?<absent>[^\s,=!()<>]+)|(?<key>[^\s,=!()<>]+)\s*(?:(?<set>in|notin)\s*\((?<list>[^)]*)\)|(?<op>==|=|!=|>|<)\s*(?<value>[^\s,=!()<>]*))?)\s*(?:,\s*(?=\S)|$)/.exec(
        rest,
      );
    if (match?.groups === undefined) {
      throw new SelectorError(`unable to parse selector "${text}" at "${rest}"`);
    }
    requirements.push(toRequirement(match.groups));
    rest = rest.slice(match[0].length);
  }
  return requirements;
}

function toRequirement(groups: Record<string, string | undefined>): Requirement {
  const { absent, key = "", set, list = "", op, value = "" } = groups;
  if (absent !== undefined) return { key: absent, operator: "DoesNotExist", values: [] };
  if (set !== undefined) {
    const values = list.split(",").map((item) => item.trim());
    return { key, operator: set === "in" ? "In" : "NotIn", values };
  }
  if (op === undefined) return { key, operator: "Exists", values: [] };
  if (op === "!=") return { key, operator: "NotIn", values: [value] };
  if (op === ">") return { key, operator: "Gt", values: [value] };
  if (op === "<") return { key, operator: "Lt", values: [value] };
  return { key, operator: "In", values: [value] };
}

export function toRequirements(selector: LabelSelector | undefined): Requirement[] {
  const equal = Object.entries(selector?.matchLabels ?? {}).map(([key, value]): Requirement => ({
    key,
    operator: "In",
    values: [value],
  }));
  const expressions = (selector?.matchExpressions ?? []).map(({ key, operator, values }): Requirement => ({
    key,
    operator: operator as Requirement["operator"],
    values: values ?? [],
  }));
  return [...equal, ...expressions];
}

export function formatSelector(requirements: Requirement[]): string {
  return requirements
    .map(({ key, operator, values }) => {
      if (operator === "Exists") return key;
      if (operator === "DoesNotExist") return `!${key}`;
      if (operator === "Gt") return `${key}>${values[0]}`;
      if (operator === "Lt") return `${key}<${values[0]}`;
      if (operator === "In" && values.length === 1) return `${key}=${values[0]}`;
      return `${key} ${operator === "In" ? "in" : "notin"} (${values.join(",")})`;
    })
    .join(",");
}

/** As Kubernetes does: `NotIn` also matches where the label is absent. */
export function matches(
  requirements: Requirement[],
  labels: Record<string, string> | undefined = {},
): boolean {
  return requirements.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case "In":
        return value !== undefined && values.includes(value);
      case "NotIn":
        return value === undefined || !values.includes(value);
      case "Exists":
        return value !== undefined;
      case "DoesNotExist":
        return value === undefined;
      case "Gt":
        return value !== undefined && Number(value) > Number(values[0]);
      case "Lt":
        return value !== undefined && Number(value) < Number(values[0]);
    }
  });
}

/** A spec's selector against labels. An absent selector matches nothing, an empty one everything. */
export function selects(
  selector: LabelSelector | undefined,
  labels: Record<string, string> | undefined,
): boolean {
  return selector !== undefined && matches(toRequirements(selector), labels);
}
