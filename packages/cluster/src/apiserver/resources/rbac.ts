/** Roles and bindings. */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import { invalid, notSupported, required, same } from "./cause.ts";
import { list } from "./loose.ts";
import type { Column, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn, wide } from "./table.ts";

const group = "rbac.authorization.k8s.io";

function validateRole(object: KubeObject): StatusCause[] {
  return list(object["rules"]).flatMap((rule, index) => {
    const path = `rules[${index}]`;
    const causes: StatusCause[] = [];
    if (!rule["verbs"]?.length)
      causes.push(required(`${path}.verbs`, "verbs must contain at least one value"));
    if (rule["nonResourceURLs"]?.length) {
      if (object.kind === "Role") {
        causes.push(
          invalid(
            `${path}.nonResourceURLs`,
            rule["nonResourceURLs"],
            "namespaced rules cannot apply to non-resource URLs",
          ),
        );
      }
      if (rule["apiGroups"]?.length || rule["resources"]?.length || rule["resourceNames"]?.length) {
        causes.push(
          invalid(
            `${path}.nonResourceURLs`,
            rule["nonResourceURLs"],
            "rules cannot apply to both regular resources and non-resource URLs",
          ),
        );
      }
      return causes;
    }
    if (!rule["apiGroups"]?.length) {
      causes.push(required(`${path}.apiGroups`, "resource rules must supply at least one api group"));
    }
    if (!rule["resources"]?.length) {
      causes.push(required(`${path}.resources`, "resource rules must supply at least one resource"));
    }
    return causes;
  });
}

function setBindingDefaults(object: KubeObject): void {
  if (object["roleRef"]) object["roleRef"].apiGroup ||= group;
  for (const subject of list(object["subjects"])) {
    subject["apiGroup"] ||= subject["kind"] === "ServiceAccount" ? "" : group;
    if (subject["apiGroup"] === "") delete subject["apiGroup"];
  }
}

function validateBinding(object: KubeObject, old?: KubeObject): StatusCause[] {
  const causes: StatusCause[] = [];
  const { apiGroup, kind, name } = object["roleRef"] ?? {};
  if (apiGroup !== group) causes.push(notSupported("roleRef.apiGroup", apiGroup, [group]));
  const kinds = object.kind === "RoleBinding" ? ["ClusterRole", "Role"] : ["ClusterRole"];
  if (!kinds.includes(kind)) causes.push(notSupported("roleRef.kind", kind, kinds));
  if (!name) causes.push(required("roleRef.name"));
  for (const [index, subject] of list(object["subjects"]).entries()) {
    const path = `subjects[${index}]`;
    if (!subject["name"]) causes.push(required(`${path}.name`));
    if (subject["kind"] === "ServiceAccount") {
      if (!subject["namespace"] && object.kind === "ClusterRoleBinding")
        causes.push(required(`${path}.namespace`));
      if (subject["apiGroup"]) causes.push(notSupported(`${path}.apiGroup`, subject["apiGroup"], [""]));
    } else if (subject["kind"] === "User" || subject["kind"] === "Group") {
      if (subject["apiGroup"] !== group) {
        causes.push(notSupported(`${path}.apiGroup`, subject["apiGroup"], [group]));
      }
    } else {
      causes.push(notSupported(`${path}.kind`, subject["kind"], ["ServiceAccount", "User", "Group"]));
    }
  }
  if (old !== undefined && !same(object["roleRef"], old["roleRef"])) {
    causes.push(invalid("roleRef", object["roleRef"], "cannot change roleRef"));
  }
  return causes;
}

const bindingColumns: Column[] = [
  nameColumn,
  column("Role", "The role that is granted."),
  ageColumn,
  wide("Users", "Users it is granted to."),
  wide("Groups", "Groups it is granted to."),
  wide("ServiceAccounts", "ServiceAccounts it is granted to."),
];

function bindingRow(object: KubeObject, now: number): string[] {
  const subjects = list(object["subjects"]);
  const of = (kind: string) => subjects.filter((subject) => subject["kind"] === kind);
  const accounts = of("ServiceAccount").map(({ namespace, name }) =>
    namespace ? `${namespace}/${name}` : String(name),
  );
  return [
    object.metadata.name,
    `${object["roleRef"]?.kind}/${object["roleRef"]?.name}`,
    age(object, now),
    of("User")
      .map(({ name }) => String(name))
      .join(", "),
    of("Group")
      .map(({ name }) => String(name))
      .join(", "),
    accounts.join(", "),
  ];
}

export const role: ResourceDefinition = define(
  { group, kind: "Role", resource: "roles" },
  { nameFormat: "path", validate: validateRole },
);

export const clusterRole: ResourceDefinition = define(
  { group, kind: "ClusterRole", resource: "clusterroles", namespaced: false },
  {
    nameFormat: "path",
    validate: validateRole,
  },
);

export const roleBinding: ResourceDefinition = define(
  { group, kind: "RoleBinding", resource: "rolebindings" },
  {
    nameFormat: "path",
    setDefaults: setBindingDefaults,
    validate: validateBinding,
    columns: bindingColumns,
    row: bindingRow,
  },
);

export const clusterRoleBinding: ResourceDefinition = define(
  { group, kind: "ClusterRoleBinding", resource: "clusterrolebindings", namespaced: false },
  {
    nameFormat: "path",
    setDefaults: setBindingDefaults,
    validate: validateBinding,
    columns: bindingColumns,
    row: bindingRow,
  },
);
