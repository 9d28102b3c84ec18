import { type Grant, permissions, type Permission, roles } from "@kws/api/access";
import { describe, expect, test } from "vitest";
import { isAllowed, isAllowedSomewhere, limitedTo } from "./grants.ts";

const everywhere = (role: Grant["role"]): Grant[] => [{ role, scope: {} }];

describe("every permission", () => {
  test.each(Object.entries(permissions))("%s takes %s", (permission, least) => {
    for (const role of roles)
      expect(isAllowed(everywhere(role), permission as Permission, {}), role).toBe(
        roles.indexOf(role) >= roles.indexOf(least),
      );
    expect(isAllowed([], permission as Permission, {})).toBe(false);
  });
});

test("a role for some services counts for these alone", () => {
  const grants: Grant[] = [{ role: "developer", scope: { services: ["payments", "cart-*"] } }];
  expect(isAllowed(grants, "runs.start", { service: "payments" })).toBe(true);
  expect(isAllowed(grants, "runs.start", { service: "cart-api" })).toBe(true);
  expect(isAllowed(grants, "runs.start", { service: "payments-2" })).toBe(false);
  expect(isAllowed(grants, "runs.start", {}), "what belongs to no service").toBe(false);
  expect(isAllowedSomewhere(grants, "runs.start")).toBe(true);
  expect(isAllowedSomewhere(grants, "runs.approve")).toBe(false);
});

test("every dimension of a scope must agree", () => {
  const grants: Grant[] = [{ role: "operator", scope: { services: ["web"], environments: ["qa*"] } }];
  expect(isAllowed(grants, "runs.approve", { service: "web", environment: "qa1" })).toBe(true);
  expect(isAllowed(grants, "runs.approve", { service: "web", environment: "production" })).toBe(false);
  expect(isAllowed(grants, "runs.approve", { service: "web" })).toBe(false);
});

test("two grants are not added up", () => {
  const grants: Grant[] = [
    { role: "viewer", scope: {} },
    { role: "operator", scope: { services: ["web"] } },
  ];
  expect(isAllowed(grants, "runs.approve", { service: "orders" })).toBe(false);
});

test("a token has no more than whoever made it", () => {
  const owner: Grant[] = [
    { role: "developer", scope: { services: ["web", "cart-*"] } },
    { role: "viewer", scope: {} },
  ];
  expect(limitedTo([{ role: "admin", scope: { services: ["cart-api", "orders"] } }], owner)).toEqual([
    { role: "developer", scope: { services: ["cart-api"] } },
    { role: "viewer", scope: { services: ["cart-api", "orders"] } },
  ]);
  expect(limitedTo(everywhere("admin"), [])).toEqual([]);
  expect(
    limitedTo(
      [{ role: "viewer", scope: { tenants: ["a"] } }],
      [{ role: "admin", scope: { tenants: ["b"] } }],
    ),
  ).toEqual([]);
});
