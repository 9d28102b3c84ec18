import { expect, test } from "vitest";
import { canaryRuleOf, goesToCanary } from "./canary.ts";

function rule(annotations: Record<string, string>) {
  const named = Object.entries({ canary: "true", ...annotations }).map(([name, value]) => [
    `nginx.ingress.kubernetes.io/${name}`,
    value,
  ]);
  const metadata = { name: "web", annotations: Object.fromEntries(named) as Record<string, string> };
  const found = canaryRuleOf({ apiVersion: "networking.k8s.io/v1", kind: "Ingress", metadata });
  if (found === undefined) throw new Error("not a canary");
  return found;
}

/** The canary's part of a thousand evenly spread draws. */
function share(annotations: Record<string, string>): number {
  const found = rule(annotations);
  const draws = Array.from({ length: 1000 }, (_, index) => index / 1000);
  return draws.filter((draw) => goesToCanary(found, {}, () => draw)).length;
}

test.each([
  [{}, 0],
  [{ "canary-weight": "0" }, 0],
  [{ "canary-weight": "25" }, 250],
  [{ "canary-weight": "100" }, 1000],
  [{ "canary-weight": "200" }, 1000],
  [{ "canary-weight": "25", "canary-weight-total": "1000" }, 25],
  [{ "canary-weight": "25", "canary-weight-total": "10" }, 250],
  [{ "canary-weight": "a few" }, 0],
])("the weight of %o is its part of all requests", (annotations, expected) => {
  expect(share(annotations)).toBe(expected);
});

test("an Ingress is a canary only where it says so", () => {
  const object = { apiVersion: "networking.k8s.io/v1", kind: "Ingress", metadata: { name: "web" } };
  expect(canaryRuleOf(object)).toBeUndefined();
});

const header = { "canary-by-header": "X-Canary" };
const cookie = { "canary-by-cookie": "beta" };
const all = { "canary-weight": "100" };

test.each([
  ["always and never are the header's words", header, { "x-canary": "always" }, true],
  ["never keeps away, whatever the weight", { ...header, ...all }, { "x-canary": "never" }, false],
  ["another word leaves it to what follows", { ...header, ...all }, { "x-canary": "maybe" }, true],
  [
    "a value takes the place of the words",
    { ...header, "canary-by-header-value": "eu" },
    { "x-canary": "eu" },
    true,
  ],
  [
    "and then always is a word as others",
    { ...header, "canary-by-header-value": "eu" },
    { "x-canary": "always" },
    false,
  ],
  [
    "a pattern fits anywhere in the value",
    { ...header, "canary-by-header-pattern": "^v[0-9]" },
    { "x-canary": "v2-beta" },
    true,
  ],
  [
    "a pattern that does not fit",
    { ...header, "canary-by-header-pattern": "^v[0-9]" },
    { "x-canary": "beta" },
    false,
  ],
  [
    "a value goes before a pattern",
    { ...header, "canary-by-header-value": "eu", "canary-by-header-pattern": "." },
    { "x-canary": "us" },
    false,
  ],
  [
    "a pattern that cannot be read is none",
    { ...header, "canary-by-header-pattern": "(" },
    { "x-canary": "always" },
    true,
  ],
  ["the cookie's words", cookie, { cookie: "a=b; beta=always" }, true],
  ["never in the cookie", { ...cookie, ...all }, { cookie: "beta=never" }, false],
  ["another cookie", cookie, { cookie: "alphabeta=always; beta=" }, false],
  [
    "the header goes before the cookie",
    { ...header, ...cookie },
    { "x-canary": "never", cookie: "beta=always" },
    false,
  ],
])("%s", (_, annotations, headers, expected) => {
  expect(goesToCanary(rule(annotations), headers, () => 0)).toBe(expected);
});
