/** Checks of what charts make of workloads: what Helm renders is looked at, and not what templates seem to say. */
import type { KubeObject } from "@kws/kube/object";
import { isMapping } from "../charts/layers.ts";
import { localRegistry } from "../providers/provider.ts";
import type { RenderedObject, RenderedService } from "./rendered.ts";
import { type Check, type Finding, ok } from "./finding.ts";
import type { Subject } from "./subject.ts";

/** A container's fields, as far as they are looked at. */
interface Container {
  name?: string;
  image?: string;
  readinessProbe?: unknown;
  livenessProbe?: unknown;
  restartPolicy?: string;
  resources?: { requests?: Record<string, unknown>; limits?: Record<string, unknown> };
  securityContext?: SecurityContext;
}

interface SecurityContext {
  privileged?: boolean;
  runAsUser?: number;
  runAsNonRoot?: boolean;
  allowPrivilegeEscalation?: boolean;
}

interface PodSpec {
  containers?: Container[];
  initContainers?: Container[];
  securityContext?: SecurityContext;
  hostNetwork?: boolean;
  hostPID?: boolean;
  hostIPC?: boolean;
  volumes?: { name?: string; hostPath?: { path?: string } }[];
}

/** Kinds whose pods go on until they are ended; others' end by themselves and are not probed. */
const serving = new Set(["Deployment", "StatefulSet", "DaemonSet"]);

/** The pods that an object makes; undefined where it makes none. */
function podSpecOf({ kind, ["spec"]: spec }: KubeObject): PodSpec | undefined {
  if (kind === "Pod") return spec;
  const template: unknown = kind === "CronJob" ? spec?.["jobTemplate"]?.spec?.template : spec?.["template"];
  return isMapping(template) && isMapping(template["spec"]) ? template["spec"] : undefined;
}

export function imagesIn(object: KubeObject): string[] {
  const { containers = [], initContainers = [] } = podSpecOf(object) ?? {};
  return [...containers, ...initContainers].flatMap(({ image }) => (image === undefined ? [] : [image]));
}

interface Workload extends RenderedObject {
  spec: PodSpec;
  /** `payments: Deployment/payments`. */
  where: string;
}

/** Every workload once, however many stacks render it; told of the first of them. */
function workloadsIn(rendered: RenderedService[]): Workload[] {
  const seen = new Map<string, Workload>();
  for (const { service, stack, objects } of rendered) {
    for (const one of objects) {
      const spec = podSpecOf(one.object);
      if (spec === undefined) continue;
      const where = `${service.name}: ${one.object.kind}/${one.object.metadata.name}`;
      // Another stack's values may make another workload of it.
      const key = `${where} ${JSON.stringify(spec)}`;
      const told = [...seen.values()].some((other) => other.where === where);
      if (!seen.has(key))
        seen.set(key, { ...one, spec, where: told ? `${where} in the stack ${stack.name}` : where });
    }
  }
  return [...seen.values()];
}

/** A check of each workload; `fine` is said where there is nothing else to be said. */
function overWorkloads(
  subject: Subject,
  look: (workload: Workload) => Omit<Finding, "where">[],
  fine: string,
): Promise<Finding[]> {
  return subject.rendered().then((rendered) => {
    const workloads = workloadsIn(rendered);
    const found = workloads.flatMap((workload) =>
      look(workload).map((finding) => Object.assign(finding, { where: workload.where })),
    );
    if (found.length > 0 || workloads.length === 0) return found;
    return [ok(fine)];
  });
}

/** Init containers that go on beside the others are sidecars. */
const lasting = ({ containers = [], initContainers = [] }: PodSpec) => [
  ...containers,
  ...initContainers.filter(({ restartPolicy }) => restartPolicy === "Always"),
];

const timeoutMs = 30_000;

const probes: Check = {
  id: "probes",
  family: "service",
  about:
    "containers that serve have a readiness probe; without one traffic reaches a program that is not there yet",
  timeoutMs,
  run: (subject) =>
    overWorkloads(
      subject,
      ({ object, spec }) =>
        serving.has(object.kind) && (spec.containers ?? []).every((one) => one.readinessProbe === undefined)
          ? [
              {
                severity: "warning",
                message: "no container has a readiness probe: a rollout counts it as ready before it serves",
                fix: "Add a `readinessProbe` to the container in the chart.",
              },
            ]
          : [],
      "every workload that serves has a readiness probe",
    ),
};

const resources: Check = {
  id: "resources",
  family: "service",
  about: "containers request processor and memory, and have a limit of memory",
  timeoutMs,
  run: (subject) =>
    overWorkloads(
      subject,
      ({ spec }) =>
        lasting(spec).flatMap(({ name, resources: { requests, limits } = {} }) => {
          const lacking = [
            ...(requests?.["cpu"] === undefined && limits?.["cpu"] === undefined ? ["requests.cpu"] : []),
            ...(requests?.["memory"] === undefined && limits?.["memory"] === undefined
              ? ["requests.memory"]
              : []),
            ...(limits?.["memory"] === undefined ? ["limits.memory"] : []),
          ];
          if (lacking.length === 0) return [];
          return [
            {
              // Without requests a node is filled blindly; a missing limit is a choice of some.
              severity: lacking.some((one) => one.startsWith("requests"))
                ? ("warning" as const)
                : ("info" as const),
              message: `the container ${name ?? "?"} has no ${lacking.join(", ")}: nodes are filled beyond what they have`,
              fix: "Set `resources` in the chart's values.",
            },
          ];
        }),
      "every container has requests and limits",
    ),
};

const security: Check = {
  id: "security",
  family: "service",
  about: "no container is privileged, runs as root, or shares the node's files, processes or network",
  timeoutMs,
  run: (subject) =>
    overWorkloads(
      subject,
      ({ spec }) => [
        ...sharing(spec),
        ...[...(spec.containers ?? []), ...(spec.initContainers ?? [])].flatMap((one) => powers(one, spec)),
      ],
      "no container has more rights than its own",
    ),
};

function sharing({ hostNetwork, hostPID, hostIPC, volumes = [] }: PodSpec): Omit<Finding, "where">[] {
  const shared = [
    ...(hostNetwork === true ? ["network"] : []),
    ...(hostPID === true ? ["processes"] : []),
    ...(hostIPC === true ? ["shared memory"] : []),
    ...volumes.flatMap(({ hostPath }) => (hostPath === undefined ? [] : [`folder ${hostPath.path ?? ""}`])),
  ];
  if (shared.length === 0) return [];
  return [
    {
      severity: "warning",
      message: `its pods share the node's ${shared.join(", ")}`,
      fix: "Use a volume claim or a Service instead, where the service is no part of the cluster itself.",
    },
  ];
}

function powers(
  { name = "?", securityContext: own = {} }: Container,
  { securityContext: pods = {} }: PodSpec,
): Omit<Finding, "where">[] {
  const user = own.runAsUser ?? pods.runAsUser;
  const neverRoot = own.runAsNonRoot ?? pods.runAsNonRoot;
  if (own.privileged === true) {
    return [
      {
        severity: "error",
        message: `the container ${name} is privileged: whoever breaks into it has the node`,
        fix: "Take `privileged` out of its securityContext; add single `capabilities` where it needs them.",
      },
    ];
  }
  if (user === 0) {
    return [
      {
        severity: "warning",
        message: `the container ${name} runs as root`,
        fix: "Set `runAsNonRoot: true` and `runAsUser` in its securityContext.",
      },
    ];
  }
  if (user !== undefined || neverRoot === true) return [];
  return [
    {
      severity: "info",
      message: `the container ${name} runs as the image's user, which may be root`,
      fix: "Set `runAsNonRoot: true` in its securityContext.",
    },
  ];
}

const images: Check = {
  id: "images",
  family: "service",
  about: "images of charts are pinned: by a digest, or at least by a tag other than `latest`",
  timeoutMs,
  run: (subject) =>
    overWorkloads(
      subject,
      ({ object }) => imagesIn(object).flatMap((image) => pinFinding(image)),
      "all images are pinned",
    ),
};

/** Nothing for one that is pinned by its digest, or built here. */
export function pinFinding(image: string): Omit<Finding, "where">[] {
  if (image.includes("@sha256:") || image.startsWith(`${localRegistry}/`)) return [];
  const tag = /:([^/:]+)$/.exec(image)?.[1] ?? "latest";
  if (tag === "latest") {
    return [
      {
        severity: "warning",
        message: `the image ${image} is whatever was pushed last`,
        fix: "Name a version, and best its digest: `image@sha256:…`.",
      },
    ];
  }
  return [
    {
      severity: "info",
      message: `the image ${image} is pinned by a tag, which can be pushed again`,
      fix: "Add its digest: `image:tag@sha256:…`.",
    },
  ];
}

const hosts: Check = {
  id: "ingress-hosts",
  family: "workspace",
  about: "no two services of the workspace's stacks answer for the same Ingress host and path",
  timeoutMs,
  async run(subject) {
    const found = new Map<string, { who: string; stack: string }[]>();
    for (const { service, stack, objects } of await subject.rendered()) {
      for (const { object } of objects) {
        for (const address of addressesOf(object)) {
          const holders = found.get(address) ?? [];
          const who = `${service.name} in ${stack.name}`;
          if (!holders.some((one) => one.who === who)) holders.push({ who, stack: stack.name });
          found.set(address, holders);
        }
      }
    }
    if (found.size === 0) return [];
    const clashes = [...found].filter(([, holders]) => holders.length > 1);
    if (clashes.length === 0) return [ok(`${found.size} Ingress addresses, each of one service`)];
    return clashes.map(([address, holders]): Finding => {
      const together = new Set(holders.map(({ stack }) => stack)).size < holders.length;
      return {
        severity: together ? "error" : "warning",
        where: address,
        message: `${holders.map(({ who }) => who).join(" and ")} answer for it${together ? "" : ", which clash where both stacks are on one cluster"}`,
        fix: "Give each a host of its own: `<service>.{{ .Release.Namespace }}.localhost` follows the stack.",
      };
    });
  },
};

/** `host/path` of an Ingress's rules; a part of a canary answers beside the main one on purpose. */
function addressesOf({ kind, metadata, ["spec"]: spec }: KubeObject): string[] {
  if (kind !== "Ingress" || metadata.annotations?.["nginx.ingress.kubernetes.io/canary"] === "true")
    return [];
  const rules = (spec?.["rules"] ?? []) as { host?: string; http?: { paths?: { path?: string }[] } }[];
  return rules.flatMap(({ host = "*", http }) =>
    (http?.paths ?? []).map(({ path = "/" }) => `${host}${path}`),
  );
}

export const manifestChecks = [probes, resources, security, images, hosts];
