/** Small kinds that the parts of a cluster keep for themselves: RuntimeClasses, Leases and flow control. */
import { forbidden, immutable, invalid, oneOf, required } from "./cause.ts";
import { list } from "./loose.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn } from "./table.ts";

export const runtimeClass: ResourceDefinition = define(
  { group: "node.k8s.io", kind: "RuntimeClass", resource: "runtimeclasses", namespaced: false },
  {
    validate(object, old) {
      if (old !== undefined) return immutable("handler", object["handler"], old["handler"]);
      return object["handler"] ? [] : [required("handler")];
    },
    columns: [nameColumn, column("Handler", "What runs pods of this class."), ageColumn],
    row: (object, now) => [object.metadata.name, object["handler"] ?? "", age(object, now)],
  },
);

export const lease: ResourceDefinition = define(
  { group: "coordination.k8s.io", kind: "Lease", resource: "leases" },
  {
    validate(object) {
      const { leaseDurationSeconds, leaseTransitions } = object["spec"] ?? {};
      const causes = [];
      if (Number(leaseDurationSeconds) <= 0) {
        causes.push(invalid("spec.leaseDurationSeconds", leaseDurationSeconds, "must be greater than 0"));
      }
      if (Number(leaseTransitions) < 0) {
        causes.push(invalid("spec.leaseTransitions", leaseTransitions, "must be greater than or equal to 0"));
      }
      return causes;
    },
    columns: [nameColumn, column("Holder", "Who holds it."), ageColumn],
    row: (object, now) => [object.metadata.name, object["spec"]?.holderIdentity ?? "", age(object, now)],
  },
);

export const flowSchema: ResourceDefinition = define(
  { group: "flowcontrol.apiserver.k8s.io", kind: "FlowSchema", resource: "flowschemas", namespaced: false },
  {
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.matchingPrecedence ||= 1000;
    },
    columns: [
      nameColumn,
      column("PriorityLevel", "The priority level of its requests."),
      column("MatchingPrecedence", "Lower ones are asked first."),
      column("DistinguisherMethod", "How flows are told apart."),
      ageColumn,
      column("MissingPL", "Whether its priority level does not exist; ? while nobody has looked."),
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      return [
        object.metadata.name,
        spec["priorityLevelConfiguration"]?.name ?? "",
        spec["matchingPrecedence"] ?? 1000,
        spec["distinguisherMethod"]?.type ?? "<none>",
        age(object, now),
        list(object["status"]?.conditions).find(({ type }) => type === "Dangling")?.["status"] ?? "?",
      ];
    },
  },
);

export const priorityLevelConfiguration: ResourceDefinition = define(
  {
    group: "flowcontrol.apiserver.k8s.io",
    kind: "PriorityLevelConfiguration",
    resource: "prioritylevelconfigurations",
    namespaced: false,
  },
  {
    hasStatus: true,
    setDefaults(object) {
      const limited = object["spec"]?.limited;
      if (!limited) return;
      limited.nominalConcurrencyShares ??= 30;
      limited.lendablePercent ??= 0;
      limited.limitResponse ??= { type: "Reject" };
      const queuing = limited.limitResponse.queuing;
      if (!queuing) return;
      queuing.queues ||= 64;
      queuing.handSize ||= 8;
      queuing.queueLengthLimit ||= 50;
    },
    validate(object, old) {
      const causes = oneOf("spec.type", object["spec"]?.type, ["Exempt", "Limited"]);
      if (old !== undefined && old["spec"]?.type !== object["spec"]?.type) {
        causes.push(forbidden("spec.type", "may not be changed"));
      }
      return causes;
    },
    columns: [
      nameColumn,
      column("Type", "Whether it is limited or exempt."),
      column("NominalConcurrencyShares", "Its share of the server."),
      column("Queues", "Queues of requests that wait."),
      column("HandSize", "Queues that the requests of one flow share."),
      column("QueueLengthLimit", "Requests that may wait in one queue."),
      ageColumn,
    ],
    row(object, now) {
      const { type = "", limited } = (object["spec"] ?? {}) as Fields;
      const queuing: Fields = limited?.limitResponse?.queuing ?? {};
      return [
        object.metadata.name,
        type,
        String(limited?.nominalConcurrencyShares ?? "<none>"),
        ...["queues", "handSize", "queueLengthLimit"].map((field) => String(queuing[field] ?? "<none>")),
        age(object, now),
      ];
    },
  },
);
