/**
 * Nobody grants what he does not have: roles and bindings are refused when they would give more than their author holds.
 * https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
 */
import type { KubeObject } from "@kws/kube/object";
import type { PolicyRule } from "./authorization.ts";
import type { ServerContext } from "./context.ts";
import { forbidden } from "./failures.ts";
import { rbacTables, roleRules, ruleAllows } from "./rbac.ts";
import type { User } from "./request.ts";
import type { ResourceDefinition } from "./resources/resource.ts";

const group = "rbac.authorization.k8s.io";

/** Throws `Forbidden`. Objects of other groups pass. */
export function refuseEscalation(
  { store, authorizer }: ServerContext,
  definition: ResourceDefinition,
  object: KubeObject,
  user: User,
): void {
  if (definition.group !== group || user.groups.includes("system:masters")) return;
  const { name, namespace } = object.metadata;
  const may = (verb: string, resource: string, role: string): boolean =>
    authorizer.authorize(user, { verb, group, resource, namespace, name: role }).allowed;
  let rules: PolicyRule[];
  if (definition.resource.endsWith("bindings")) {
    const ref = object.roleRef as { kind: string; name: string };
    const isCluster = ref.kind === "ClusterRole";
    if (may("bind", isCluster ? "clusterroles" : "roles", ref.name)) return;
    const role = isCluster
      ? store.latest(rbacTables.clusterRoles, ref.name)
      : store.latest(rbacTables.roles, `${namespace}/${ref.name}`);
    // As upstream: what is bound has to be there to be judged.
    if (role === undefined) throw forbidden(definition, name, `${ref.kind} "${ref.name}" not found`);
    rules = roleRules(store, role.object);
  } else {
    if (may("escalate", definition.resource, name)) return;
    rules = roleRules(store, object);
    // As upstream: roles that are yet to come may match, so who aggregates has to hold everything.
    if (object.aggregationRule !== undefined) {
      rules = [
        ...rules,
        { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
        { verbs: ["*"], nonResourceURLs: ["*"] },
      ];
    }
  }
  const held = authorizer.rules(user, namespace ?? "");
  const missing = rules.filter((rule) => !isHeld(rule, held));
  if (missing.length === 0) return;
  const texts = missing.map((rule) => JSON.stringify(rule)).join("\n");
  throw forbidden(
    definition,
    name,
    `user "${user.name}" (groups=${JSON.stringify(user.groups)}) is attempting to grant RBAC permissions not currently held:\n${texts}`,
  );
}

/** Each single permission of the rule is allowed by one of the held rules. */
function isHeld(rule: PolicyRule, held: PolicyRule[]): boolean {
  const names = rule.resourceNames?.length ? rule.resourceNames : [undefined];
  const isAllowed = (attributes: Parameters<typeof ruleAllows>[1]): boolean =>
    held.some((one) => ruleAllows(one, attributes));
  return rule.verbs.every(
    (verb) =>
      (rule.nonResourceURLs ?? []).every((path) => isAllowed({ verb, path })) &&
      (rule.apiGroups ?? []).every((apiGroup) =>
        (rule.resources ?? []).every((resource) =>
          names.every((name) => isAllowed({ verb, group: apiGroup, resource, name })),
        ),
      ),
  );
}
