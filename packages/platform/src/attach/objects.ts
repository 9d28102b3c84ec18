/** The objects of an intercept. All belong to one Secret, so that removing it removes everything. */
import type { KubeObject } from "@kws/kube/object";
import { serviceLabel, fieldManager, managedByLabel } from "../services/labels.ts";
import type { Program } from "./program.ts";
import type { ProxyConfig } from "./proxy/main.ts";
import { proxyLabel } from "./proxy/restore.ts";

export interface InterceptNames {
  /** The service's name in kws. */
  service: string;
  namespace: string;
  /** Of all objects of the intercept. */
  name: string;
}

export function namesOf(service: string, namespace: string): InterceptNames {
  return { service, namespace, name: `kws-intercept-${service}` };
}

type Owner = Pick<KubeObject, "apiVersion" | "kind" | "metadata">;

function object(
  { service, namespace, name }: InterceptNames,
  apiVersion: string,
  kind: string,
  owner: Owner,
  rest: Record<string, unknown>,
): KubeObject {
  const { name: ownerName, uid = "" } = owner.metadata;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      namespace,
      labels: { [managedByLabel]: fieldManager, [serviceLabel]: service },
      ownerReferences: [{ apiVersion: owner.apiVersion, kind: owner.kind, name: ownerName, uid }],
    },
    ...rest,
  };
}

/** Holds the program and its settings; goes with the Service. */
export function programSecret(
  names: InterceptNames,
  service: KubeObject,
  program: Program,
  config: ProxyConfig,
): KubeObject {
  return object(
    names,
    "v1",
    "Secret",
    { ...service, apiVersion: "v1", kind: "Service" },
    {
      type: "Opaque",
      data: Object.fromEntries(
        Object.entries({ ...program.files, "config.json": JSON.stringify(config) }).map(([name, text]) => [
          name,
          Buffer.from(text).toString("base64"),
        ]),
      ),
    },
  );
}

/** Leads to the pods that the intercepted Service led to. */
export function originalService(
  names: InterceptNames,
  owner: Owner,
  selector: Record<string, string>,
  ports: { name: string; port: number; targetPort: number | string }[],
): KubeObject {
  return object(names, "v1", "Service", owner, { spec: { type: "ClusterIP", selector, ports } });
}

/** Lets the proxy give the one Service back and remove itself, and do nothing else. */
export function selfRemoval(names: InterceptNames, owner: Owner, kubeService: string): KubeObject[] {
  const { name, namespace } = names;
  return [
    object(names, "v1", "ServiceAccount", owner, {}),
    object(names, "rbac.authorization.k8s.io/v1", "Role", owner, {
      rules: [
        { apiGroups: [""], resources: ["services"], resourceNames: [kubeService], verbs: ["get", "patch"] },
        { apiGroups: [""], resources: ["secrets"], resourceNames: [name], verbs: ["delete"] },
      ],
    }),
    object(names, "rbac.authorization.k8s.io/v1", "RoleBinding", owner, {
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name },
      subjects: [{ kind: "ServiceAccount", name, namespace }],
    }),
  ];
}

interface ProgramRun {
  image: string;
  /** The program's first file. */
  main: string;
  ports: { containerPort: number; name?: string }[];
  readinessProbe: Record<string, unknown>;
}

/** The part of a pod's specification that runs the program of a Secret, with its `config.json`, and is allowed nothing else. */
export function programRun(secret: string, { image, main, ports, readinessProbe }: ProgramRun): object {
  return {
    containers: [
      {
        name: "proxy",
        image,
        command: ["node", `${folder}/${main}`, `${folder}/config.json`],
        ports,
        readinessProbe,
        resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "256Mi" } },
        securityContext: {
          runAsUser: 65532,
          runAsNonRoot: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ["ALL"] },
          seccompProfile: { type: "RuntimeDefault" },
        },
        volumeMounts: [{ name: "program", mountPath: folder, readOnly: true }],
      },
    ],
    volumes: [{ name: "program", secret: { secretName: secret } }],
  };
}

const folder = "/kws";
const unprivileged = 1024;

export interface ProxyPod {
  image: string;
  /** The program's first file. */
  main: string;
  config: ProxyConfig;
  /** The names that the Service's ports have in the pods, by number. */
  portNames: Record<number, string>;
  /** Whether `selfRemoval` was allowed. */
  removesItself: boolean;
}

export function proxyDeployment(names: InterceptNames, owner: Owner, pod: ProxyPod): KubeObject {
  const { name, service } = names;
  const { config } = pod;
  const labels = { [proxyLabel]: service };
  return object(names, "apps/v1", "Deployment", owner, {
    spec: {
      replicas: 1,
      strategy: { type: "Recreate" },
      selector: { matchLabels: labels },
      template: {
        // Others' settings need another pod.
        metadata: { labels, annotations: { "kws.dev/intercept-token": config.token.slice(0, 8) } },
        spec: {
          ...(pod.removesItself ? { serviceAccountName: name } : {}),
          automountServiceAccountToken: pod.removesItself,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 10,
          ...(config.ports.some(({ listen }) => listen < unprivileged)
            ? { securityContext: { sysctls: [{ name: "net.ipv4.ip_unprivileged_port_start", value: "0" }] } }
            : {}),
          ...programRun(name, {
            image: pod.image,
            main: pod.main,
            ports: config.ports.map(({ listen }) => ({
              containerPort: listen,
              ...(pod.portNames[listen] === undefined ? {} : { name: pod.portNames[listen] }),
            })),
            readinessProbe: { tcpSocket: { port: config.control }, periodSeconds: 1 },
          }),
        },
      },
    },
  });
}
