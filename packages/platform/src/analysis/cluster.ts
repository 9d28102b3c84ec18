/** Checks of the cluster that commands would work on. */
import { performance } from "node:perf_hooks";
import { formatDuration } from "@kws/base/duration";
import { limiter } from "@kws/base/limiter";
import type { KubeClient } from "@kws/kube/client";
import { namespaces } from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import type { Connection } from "../providers/provider.ts";
import { findOrphans } from "../stacks/orphans.ts";
import { type Check, type Finding, ok } from "./finding.ts";
import { successorOf } from "./api-versions.ts";

const reachable: Check = {
  id: "api-server",
  family: "cluster",
  about: "the provider's cluster runs, and its API server answers",
  async run(subject, signal) {
    const { name, provider, state, problem, version } = await subject.status();
    const what = `the ${provider} cluster ${name}`;
    if (state === "stopped") {
      return [
        { severity: "info", message: `${what} does not run`, fix: "Start it with `kws cluster start`." },
      ];
    }
    const connection = await subject.connection();
    if (connection === undefined) {
      return [
        {
          severity: "error",
          message: `${what} is not reached: ${problem ?? state}`,
          fix:
            provider === "kubeconfig"
              ? "Check the VPN, the login, and the address in the kubeconfig."
              : "Start it with `kws cluster start`.",
        },
      ];
    }
    const began = performance.now();
    await connection.client.request({ method: "GET", path: "/version", signal });
    return [
      ok(
        `${what}, Kubernetes ${version ?? "of an unknown version"}, answered after ${formatDuration(performance.now() - began)}`,
      ),
    ];
  },
};

/** What commands do in a stack's namespace: by verb, group, resource and subresource. */
const needs: [verbs: string, group: string, resource: string, subresource?: string][] = [
  ["get list watch create update patch delete", "", "secrets"],
  ["get list create patch delete", "", "configmaps"],
  ["get list create patch delete", "", "services"],
  ["get list watch delete", "", "pods"],
  ["get", "", "pods", "log"],
  ["create", "", "pods", "exec"],
  ["create", "", "pods", "portforward"],
  ["get list", "", "events"],
  ["get list", "", "persistentvolumeclaims"],
  ["get list watch create patch delete", "apps", "deployments"],
  ["get list watch create patch delete", "apps", "statefulsets"],
  ["get list watch", "apps", "replicasets"],
  ["get list watch create delete", "batch", "jobs"],
  ["get list create patch delete", "networking.k8s.io", "ingresses"],
  ["get create update delete", "coordination.k8s.io", "leases"],
];

interface Right {
  verb: string;
  group: string;
  resource: string;
  subresource?: string;
}

const neededRights = needs.flatMap(([verbs, group, resource, subresource]) =>
  verbs
    .split(" ")
    .map((verb): Right =>
      Object.assign({ verb, group, resource }, subresource === undefined ? {} : { subresource }),
    ),
);

const atOnce = 8;

const rights: Check = {
  id: "api-rights",
  family: "cluster",
  about:
    "the API server is asked (SelfSubjectAccessReview) for every right that commands need in the stacks' namespaces",
  async run(subject, signal) {
    const connection = await subject.connection();
    if (connection === undefined) return [];
    const stacks = (await subject.project())?.stacks ?? [];
    const places = stacks.length === 0 ? ["default"] : [...new Set(stacks.map(({ namespace }) => namespace))];
    const inTurn = limiter(atOnce);
    const review = (attributes: Right & { namespace: string }) =>
      inTurn(() => mayDo(connection.client, attributes, signal));
    return Promise.all(
      places.map(async (namespace): Promise<Finding> => {
        // A namespace that is there need not be made.
        const exists = await isThere(connection.client, namespace, signal);
        const rest = exists ? [] : [{ verb: "create", group: "", resource: "namespaces" }];
        const asked = await Promise.all(
          [...neededRights, ...rest].map(async (right) => ({
            right,
            allowed: await review({ ...right, namespace }),
          })),
        );
        const refused = asked.filter(({ allowed }) => !allowed).map(({ right }) => said(right));
        if (refused.length === 0)
          return ok(`${asked.length} of ${asked.length} rights in the namespace ${namespace}`);
        return {
          severity: "error",
          where: `Namespace/${namespace}`,
          message: `you may not ${listed(refused)}`,
          fix: `Ask whoever runs the cluster for a RoleBinding to \`edit\` in the namespace ${namespace}.`,
        };
      }),
    );
  },
};

function said({ verb, resource, subresource }: Right): string {
  return `${verb} ${resource}${subresource === undefined ? "" : `/${subresource}`}`;
}

/** The first few of many. */
export function listed(names: string[], most = 6): string {
  const more = names.length > most ? `, and ${names.length - most} more` : "";
  return `${names.slice(0, most).join(", ")}${more}`;
}

async function isThere(client: KubeClient, namespace: string, signal: AbortSignal): Promise<boolean> {
  try {
    await client.get(namespaces, namespace, undefined, { signal });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return false;
    // Whoever may not look at namespaces was given one.
    if (error instanceof ApiError && error.code === 403) return true;
    throw error;
  }
}

async function mayDo(
  client: KubeClient,
  resourceAttributes: Right & { namespace: string },
  signal: AbortSignal,
): Promise<boolean> {
  const answer = await client.request({
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes },
    }),
    signal,
  });
  return answer["status"]?.["allowed"] === true;
}

/** Locks are held for a minute and renewed well before; certificates and tokens of a minute's age must be good. */
const skewWarning = 10_000;
const skewError = 60_000;

const skew: Check = {
  id: "clock-skew",
  family: "cluster",
  about: "this machine's clock against the Date of the API server's answer",
  async run(subject, signal) {
    const connection = await subject.connection();
    return connection === undefined ? [] : skewFindings(connection, subject.clock, signal);
  },
};

export async function skewFindings(
  { transport }: Pick<Connection, "transport">,
  clock: () => number,
  signal: AbortSignal,
): Promise<Finding[]> {
  const before = clock();
  const { headers, body } = await transport.request({ method: "GET", path: "/version", signal });
  for await (const _chunk of body);
  const theirs = Date.parse(headers["date"] ?? "");
  if (Number.isNaN(theirs)) return [];
  // The header has whole seconds, cut off.
  const ahead = (before + clock()) / 2 - (theirs + 500);
  const ms = Math.abs(ahead);
  if (ms < skewWarning) return [ok("this clock and the API server's agree")];
  return [
    {
      severity: ms < skewError ? "warning" : "error",
      message: `this clock is ${formatDuration(ms)} ${ahead > 0 ? "ahead of" : "behind"} the API server's: certificates, tokens and locks go by it`,
      fix: "Let the clock be set by the network: `sudo timedatectl set-ntp true`; in WSL, `sudo hwclock -s`.",
    },
  ];
}

const orphans: Check = {
  id: "orphans",
  family: "cluster",
  about: "releases of services that the workspace no longer has, and volumes that were kept of them",
  async run(subject, signal) {
    const connection = await subject.connection();
    const { project, services, faults } = await subject.survey();
    // One that cannot be read is not gone.
    if (connection === undefined || project === undefined || faults.length > 0) return [];
    const { name: workspace } = project;
    const names = services.map(({ name }) => name);
    const found = await findOrphans(connection.client, { workspace, services: names, signal });
    if (found.length === 0) return [ok("all that is installed belongs to a service of the workspace")];
    return found.map(({ service, stack, namespace, installed, volumes }): Finding => {
      const kept = volumes.length === 0 ? "" : ` ${installed ? "with" : "left"} ${volumes.join(", ")}`;
      return {
        severity: installed ? "warning" : "info",
        where: `Namespace/${namespace} ${service}`,
        message: `${service}${installed ? " is installed" : ""}${kept} in the stack ${stack}, and the workspace has no such service`,
        fix: `Add it to the workspace again, or remove it with its data: \`kws stack remove ${stack} --orphans\`.`,
      };
    });
  },
};

const versions: Check = {
  id: "api-versions",
  family: "cluster",
  about:
    "the API versions that charts use are served by the cluster; where none runs, by the newest Kubernetes",
  timeoutMs: 30_000,
  async run(subject, signal) {
    const connection = await subject.connection();
    const objects = (await subject.rendered()).flatMap(({ service, objects: all }) =>
      all.map(({ object, template }) => ({ service, object, template })),
    );
    const used = new Map(
      objects.map((one) => [`${one.object.apiVersion} ${one.object.kind} ${one.service.name}`, one]),
    );
    const own = new Set(
      objects
        .filter(({ object }) => object.kind === "CustomResourceDefinition")
        .map(({ object }) => String(object["spec"]?.["names"]?.["kind"])),
    );
    const served = connection === undefined ? undefined : servedKinds(connection.client, signal);
    const findings = await Promise.all(
      [...used.values()].map(async ({ service, object, template }): Promise<Finding[]> => {
        const { apiVersion, kind } = object;
        const successor = successorOf(apiVersion, kind);
        const kinds = await served?.(apiVersion);
        if (kinds === undefined ? successor === undefined : kinds.includes(kind) || own.has(kind)) return [];
        return [
          {
            severity: "error",
            where: `${service.name}: ${template || kind}`,
            message: `${connection === undefined ? "Kubernetes no longer serves" : "the cluster does not serve"} ${apiVersion} ${kind}`,
            fix:
              successor === undefined
                ? `Install what brings the kind ${kind}, such as an operator, first.`
                : `Write it as ${successor}; see https://kubernetes.io/docs/reference/using-api/deprecation-guide/.`,
          },
        ];
      }),
    );
    const found = findings.flat();
    return found.length > 0 || used.size === 0
      ? found
      : [ok(`${used.size} kinds of objects, all of them served`)];
  },
};

/** The kinds of a group's version, asked for once. */
function servedKinds(client: KubeClient, signal: AbortSignal): (apiVersion: string) => Promise<string[]> {
  const asked = new Map<string, Promise<string[]>>();
  const ask = async (apiVersion: string): Promise<string[]> => {
    try {
      const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
      const list = await client.request({ method: "GET", path, signal });
      return (list["resources"] as unknown as { kind: string }[]).map(({ kind }) => kind);
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return [];
      throw error;
    }
  };
  return (apiVersion) => {
    const answer = asked.get(apiVersion) ?? ask(apiVersion);
    asked.set(apiVersion, answer);
    return answer;
  };
}

export const clusterChecks = [reachable, rights, skew, orphans, versions];
