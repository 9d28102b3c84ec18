/**
 * `authorizer`: how an expression asks whether the user of a request may do something else
 * (https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-authorizer-library).
 */
import type { Environment } from "@marcbachmann/cel-js";
import type { Authorizer as Decider, Decision, ResourceAttributes } from "../authorization.ts";
import type { User } from "../request.ts";

type Asked = Omit<ResourceAttributes, "verb">;

/** What the variable `authorizer` holds. */
export class Authorizer {
  readonly decider: Decider;
  readonly user: User;
  /** The check about what the request itself is about. */
  readonly requestResource: ResourceCheck;
  constructor(decider: Decider, user: User, request: Asked) {
    this.decider = decider;
    this.user = user;
    this.requestResource = new ResourceCheck(this, request);
  }
}

class PathCheck {
  readonly by: Authorizer;
  readonly path: string;
  constructor(by: Authorizer, path: string) {
    this.by = by;
    this.path = path;
  }
}

class GroupCheck {
  readonly by: Authorizer;
  readonly group: string;
  constructor(by: Authorizer, group: string) {
    this.by = by;
    this.group = group;
  }
}

class ResourceCheck {
  readonly by: Authorizer;
  readonly asked: Asked;
  constructor(by: Authorizer, asked: Asked) {
    this.by = by;
    this.asked = asked;
  }
  with(more: Partial<Asked>): ResourceCheck {
    return new ResourceCheck(this.by, { ...this.asked, ...more });
  }
}

class Answer {
  readonly decision: Decision;
  constructor(decision: Decision) {
    this.decision = decision;
  }
}

const prefix = "kubernetes.authorization";
export const authorizerType = `${prefix}.Authorizer`;

export function addAuthorizer(environment: Environment): void {
  const resource = `${prefix}.ResourceCheck`;
  environment
    .registerType(resource, { ctor: ResourceCheck, fields: {} })
    .registerType(`${prefix}.PathCheck`, { ctor: PathCheck, fields: {} })
    .registerType(`${prefix}.GroupCheck`, { ctor: GroupCheck, fields: {} })
    .registerType(`${prefix}.Decision`, { ctor: Answer, fields: {} })
    .registerType(authorizerType, { ctor: Authorizer, fields: { requestResource: resource } })
    .registerFunction(
      `${authorizerType}.path(string): ${prefix}.PathCheck`,
      (by: Authorizer, path: string) => {
        return new PathCheck(by, path);
      },
    )
    .registerFunction(
      `${authorizerType}.group(string): ${prefix}.GroupCheck`,
      (by: Authorizer, group: string) => {
        return new GroupCheck(by, group);
      },
    )
    .registerFunction(
      `${authorizerType}.serviceAccount(string, string): ${authorizerType}`,
      ({ decider, requestResource }: Authorizer, namespace: string, name: string) => {
        const groups = [
          "system:serviceaccounts",
          `system:serviceaccounts:${namespace}`,
          "system:authenticated",
        ];
        const user = { name: `system:serviceaccount:${namespace}:${name}`, groups };
        return new Authorizer(decider, user, requestResource.asked);
      },
    )
    .registerFunction(
      `${prefix}.GroupCheck.resource(string): ${resource}`,
      ({ by, group }: GroupCheck, name: string) => {
        return new ResourceCheck(by, { group, resource: name });
      },
    )
    .registerFunction(
      `${resource}.subresource(string): ${resource}`,
      (check: ResourceCheck, subresource: string) => check.with({ subresource }),
    )
    .registerFunction(
      `${resource}.namespace(string): ${resource}`,
      (check: ResourceCheck, namespace: string) => check.with({ namespace }),
    )
    .registerFunction(`${resource}.name(string): ${resource}`, (check: ResourceCheck, name: string) =>
      check.with({ name }),
    )
    .registerFunction(
      `${resource}.check(string): ${prefix}.Decision`,
      ({ by, asked }: ResourceCheck, verb: string) =>
        new Answer(by.decider.authorize(by.user, { ...asked, verb })),
    )
    .registerFunction(
      `${prefix}.PathCheck.check(string): ${prefix}.Decision`,
      ({ by, path }: PathCheck, verb: string) => new Answer(by.decider.authorize(by.user, { path, verb })),
    )
    .registerFunction(`${prefix}.Decision.allowed(): bool`, ({ decision }: Answer) => decision.allowed)
    .registerFunction(`${prefix}.Decision.reason(): string`, ({ decision }: Answer) => decision.reason)
    .registerFunction(`${prefix}.Decision.errored(): bool`, () => false)
    .registerFunction(`${prefix}.Decision.error(): string`, () => "");
}
