/** Acting as another user: `kubectl --as`. https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation */
import { refusal, type Authorizer, type ResourceAttributes } from "./authorization.ts";
import { badRequest } from "./failures.ts";
import type { ApiRequest, User } from "./request.ts";

const extraPrefix = "impersonate-extra-";

/** The user that the request is made as; throws `Forbidden` where the asker may not act as that one. */
export function effectiveUser(
  authorizer: Authorizer,
  { user, headers }: Pick<ApiRequest, "user" | "headers">,
): User {
  const name = headers["impersonate-user"];
  const groups = valuesOf(headers["impersonate-group"]);
  const uid = headers["impersonate-uid"];
  const extra = Object.fromEntries(
    Object.entries(headers)
      .filter(([header]) => header.startsWith(extraPrefix))
      .map(([header, value]) => [decodeURIComponent(header.slice(extraPrefix.length)), valuesOf(value)]),
  );
  if (name === undefined || name === "") {
    if (groups.length > 0 || uid !== undefined || Object.keys(extra).length > 0) {
      throw badRequest("requested impersonation of groups, a uid or extras without impersonating a user");
    }
    return user;
  }
  const account = /^system:serviceaccount:(?<namespace>[^:]+):(?<account>[^:]+)$/.exec(name)?.groups;
  const authentication = "authentication.k8s.io";
  const asked: ResourceAttributes[] = [
    account === undefined
      ? { verb: "impersonate", group: "", resource: "users", name }
      : {
          verb: "impersonate",
          group: "",
          resource: "serviceaccounts",
          namespace: account.namespace,
          name: account.account,
        },
    ...groups.map((group) => ({ verb: "impersonate", group: "", resource: "groups", name: group })),
    ...(uid === undefined
      ? []
      : [{ verb: "impersonate", group: authentication, resource: "uids", name: uid }]),
    ...Object.entries(extra).flatMap(([key, values]) =>
      values.map((value) => ({
        verb: "impersonate",
        group: authentication,
        resource: "userextras",
        subresource: key,
        name: value,
      })),
    ),
  ];
  for (const attributes of asked) {
    if (!authorizer.authorize(user, attributes).allowed) throw refusal(user, attributes);
  }
  const implied =
    account === undefined || groups.length > 0
      ? groups
      : ["system:serviceaccounts", `system:serviceaccounts:${account.namespace}`];
  const everyone = name === "system:anonymous" ? "system:unauthenticated" : "system:authenticated";
  return {
    name,
    uid,
    groups: [...new Set([...implied, everyone])],
    ...(Object.keys(extra).length > 0 ? { extra } : {}),
  };
}

/** Node joins a header that is given several times with commas. */
function valuesOf(header: string | undefined): string[] {
  return (header ?? "")
    .split(",")
    .map((value) => value.trim())
    .filter((value) => value !== "");
}
