/** The pods of tests and of their datastores, as the API server is given them. */
import type { KubeObject } from "@kws/kube/object";
import type { Datastore } from "../project/schema.ts";
import { fieldManager, managedByLabel, testLabel } from "../services/labels.ts";
import type { TestSuite } from "./levels.ts";
import type { Place } from "./place.ts";

export const defaultReports = "/reports";
/** The containers of a test's pod. */
export const testContainer = "tests";
export const reportsContainer = "reports";

/** What is kept of the files that tests write; the node refuses more. */
const reportsLimit = "256Mi";
const datastoreLabel = "kws.dev/datastore";

export interface TestPod {
  name: string;
  namespace: string;
  suite: TestSuite;
  image: string;
  /** The Secret of its place. */
  secret: string;
  /** When the cluster itself ends it, whoever has gone. */
  deadlineSeconds: number;
}

export const labelsOf = ({ level }: TestSuite) => ({ [managedByLabel]: fieldManager, [testLabel]: level });

const confined = { allowPrivilegeEscalation: false };

/**
 * The tests and, beside them, a container of the same image that holds on to what they write, so that it can be read when they
 * have ended, whatever ended them.
 */
export function testPod({ name, namespace, suite, image, secret, deadlineSeconds }: TestPod): KubeObject {
  const { run, env = {}, reports = defaultReports, cpu = "2", memory = "1Gi" } = suite.config;
  const volumeMounts = [{ name: "reports", mountPath: reports }];
  const shared = { image, imagePullPolicy: "IfNotPresent", volumeMounts };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: labelsOf(suite) },
    spec: {
      ...podDefaults,
      activeDeadlineSeconds: deadlineSeconds,
      containers: [
        {
          ...shared,
          name: testContainer,
          command: run,
          env: envOf(suite, secret, env),
          resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu, memory } },
          securityContext: confined,
        },
        {
          ...shared,
          name: reportsContainer,
          command: ["sh", "-c", "trap 'exit 0' TERM; sleep 2147483647 & wait"],
          resources: { requests: { cpu: "10m", memory: "16Mi" }, limits: { cpu: "1", memory: "128Mi" } },
          securityContext: confined,
        },
      ],
      volumes: [{ name: "reports", emptyDir: { sizeLimit: reportsLimit } }],
    },
  };
}

/** The suite's secrets first: `$(NAME)` in what follows stands for those before it (Container v1, `env.value`). */
function envOf(
  { config: { secrets = [] } }: TestSuite,
  secret: string,
  env: Record<string, string>,
): object[] {
  return [
    ...secrets.map((key) => ({ name: key, valueFrom: { secretKeyRef: { name: secret, key } } })),
    ...Object.entries(env).map(([name, value]) => ({ name, value })),
  ];
}

const podDefaults = {
  restartPolicy: "Never",
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  terminationGracePeriodSeconds: 1,
};

/** A datastore's pod, which shares the secrets of the tests, and the Service that gives it its name. */
export function datastoreObjects(
  name: string,
  {
    place: { namespace, secret },
    suite,
    config,
    image,
  }: { place: Pick<Place, "namespace" | "secret">; suite: TestSuite; config: Datastore; image: string },
): { pod: KubeObject; service: KubeObject } {
  const { env = {}, args, ports } = config;
  const metadata = { name, namespace, labels: { ...labelsOf(suite), [datastoreLabel]: name } };
  return {
    pod: {
      apiVersion: "v1",
      kind: "Pod",
      metadata,
      spec: {
        ...podDefaults,
        containers: [
          {
            name,
            image,
            imagePullPolicy: "IfNotPresent",
            ...(args === undefined ? {} : { args }),
            env: envOf(suite, secret, env),
            ports: ports.map((containerPort) => ({ containerPort })),
            readinessProbe: { ...probeOf(config), periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1 },
            resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu: "2", memory: "1Gi" } },
            securityContext: confined,
          },
        ],
      },
    },
    service: {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: {
        selector: { [datastoreLabel]: name },
        ports: ports.map((port) => ({ name: `port-${port}`, port, targetPort: port })),
      },
    },
  };
}

function probeOf({ ready, ports: [first = 0] }: Datastore): object {
  if (ready === undefined) return { tcpSocket: { port: first } };
  if ("exec" in ready) return { exec: { command: ready.exec } };
  if ("http" in ready) return { httpGet: { path: ready.http, port: ready.port ?? first } };
  return { tcpSocket: { port: ready.tcp } };
}
