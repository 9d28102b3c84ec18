/**
 * Role-based access control, evaluated from the stored roles and bindings at every request, so that a change counts at
 * once. Semantics: https://kubernetes.io/docs/reference/access-authn-authz/rbac/.
 */
import { selects, type LabelSelector } from "@kws/kube/selector";
import type { KubeObject } from "@kws/kube/object";
import type { Store } from "../storage/store.ts";
import {
  isPathAttributes,
  type Authorizer,
  type PathAttributes,
  type PolicyRule,
  type ResourceAttributes,
} from "./authorization.ts";
import type { User } from "./request.ts";

const group = "rbac.authorization.k8s.io";
export const rbacTables = {
  roles: `roles.${group}`,
  roleBindings: `rolebindings.${group}`,
  clusterRoles: `clusterroles.${group}`,
  clusterRoleBindings: `clusterrolebindings.${group}`,
} as const;

interface Subject {
  kind: string;
  name: string;
  namespace?: string;
}

export function rbacAuthorizer(store: Store): Authorizer {
  return {
    authorize(user, attributes) {
      // As upstream: the only group that no role can take rights from, so that nobody locks himself out.
      if (user.groups.includes("system:masters")) return { allowed: true, reason: "" };
      const namespace = isPathAttributes(attributes) ? "" : (attributes.namespace ?? "");
      for (const binding of bindingsOf(store, user, namespace)) {
        if (rulesOf(store, binding).some((rule) => ruleAllows(rule, attributes))) {
          return { allowed: true, reason: `RBAC: allowed by ${describe(binding)}` };
        }
      }
      return { allowed: false, reason: "" };
    },
    rules(user, namespace) {
      if (user.groups.includes("system:masters")) {
        return [
          { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
          { verbs: ["*"], nonResourceURLs: ["*"] },
        ];
      }
      return [...bindingsOf(store, user, namespace)].flatMap((binding) => rulesOf(store, binding));
    },
  };
}

function* bindingsOf(store: Store, user: User, namespace: string): Generator<KubeObject> {
  for (const { object } of store.list(rbacTables.clusterRoleBindings)) {
    if (bindsUser(object, user)) yield object;
  }
  if (namespace === "") return;
  for (const { object } of store.list(rbacTables.roleBindings, `${namespace}/`)) {
    if (bindsUser(object, user)) yield object;
  }
}

function bindsUser(binding: KubeObject, user: User): boolean {
  return ((binding.subjects ?? []) as Subject[]).some(({ kind, name, namespace }) => {
    if (kind === "User") return name === user.name;
    if (kind === "Group") return user.groups.includes(name);
    const home = namespace ?? binding.metadata.namespace;
    return kind === "ServiceAccount" && user.name === `system:serviceaccount:${home}:${name}`;
  });
}

function rulesOf(store: Store, binding: KubeObject): PolicyRule[] {
  const { kind, name } = binding.roleRef as { kind: string; name: string };
  const role =
    kind === "ClusterRole"
      ? store.get(rbacTables.clusterRoles, name)
      : store.get(rbacTables.roles, `${binding.metadata.namespace}/${name}`);
  return role === undefined ? [] : roleRules(store, role.object);
}

/** A role's rules; those of an aggregated ClusterRole come from the roles its selectors find. */
export function roleRules(store: Store, role: KubeObject): PolicyRule[] {
  const own = (role.rules ?? []) as PolicyRule[];
  const selectors = role.aggregationRule?.clusterRoleSelectors as LabelSelector[] | undefined;
  if (selectors === undefined) return own;
  const found = store
    .list(rbacTables.clusterRoles)
    .filter(({ object }) => object.metadata.name !== role.metadata.name)
    .filter(({ object }) => selectors.some((selector) => selects(selector, object.metadata.labels)));
  return [...own, ...found.flatMap(({ object }) => (object.rules ?? []) as PolicyRule[])];
}

export function ruleAllows(rule: PolicyRule, attributes: ResourceAttributes | PathAttributes): boolean {
  if (!includes(rule.verbs, attributes.verb)) return false;
  if (isPathAttributes(attributes)) {
    return (rule.nonResourceURLs ?? []).some((pattern) =>
      pattern.endsWith("*") ? attributes.path.startsWith(pattern.slice(0, -1)) : attributes.path === pattern,
    );
  }
  const { subresource, name } = attributes;
  const resource =
    subresource === undefined || subresource === ""
      ? attributes.resource
      : `${attributes.resource}/${subresource}`;
  const resources = rule.resources ?? [];
  return (
    includes(rule.apiGroups ?? [], attributes.group) &&
    (includes(resources, resource) ||
      (subresource !== undefined && resources.includes(`*/${subresource}`))) &&
    ((rule.resourceNames ?? []).length === 0 || (rule.resourceNames ?? []).includes(name ?? ""))
  );
}

function includes(allowed: string[], value: string): boolean {
  return allowed.includes("*") || allowed.includes(value);
}

function describe(binding: KubeObject): string {
  const { namespace, name } = binding.metadata;
  const home = namespace === undefined ? "" : `${namespace}/`;
  const kind = namespace === undefined ? "ClusterRoleBinding" : "RoleBinding";
  return `${kind} "${home}${name}" of ${binding.roleRef.kind} "${binding.roleRef.name}" to the subject`;
}
