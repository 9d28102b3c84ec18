/** The pod of a step, as the API server is given it. */
import type { KubeObject } from "@kws/kube/object";
import { fieldManager, managedByLabel, runLabel } from "../services/labels.ts";
import type { Job } from "./plan.ts";

export const stepContainer = "step";
/** Holds on to the step's files, so that they get in before it begins and out when it has ended, whatever ended it. */
export const filesContainer = "files";
/** The sources, and the working directory. */
export const workspaceFolder = "/workspace";
export const controlFolder = "/kws";
export const jobLabel = "kws.dev/job";

/** What a step runs as that does not ask for root. */
const ordinaryUser = 1000;

export interface StepPod {
  run: string;
  namespace: string;
  /** Of the pod, and of the Secret that has its secrets. */
  name: string;
  job: Job;
  image: string;
  env: Record<string, string>;
  /** Names of variables that the Secret has. */
  secrets: string[];
  /** When the cluster itself ends it, whoever has gone. */
  deadlineSeconds: number;
}

/** Waits for the files, then becomes the command. */
const waiting = `umask 022
while [ ! -e ${controlFolder}/ready ]; do sleep 0.05 2>/dev/null || sleep 1; done
cd ${workspaceFolder} && exec "$@"`;

export function stepPod(options: StepPod): KubeObject {
  const { run: command = [], root = false, cpu = "2", memory = "2Gi" } = options.job.config;
  const { image, name } = options;
  const argv = typeof command === "string" ? ["sh", "-ec", command] : command;
  const volumeMounts = [
    { name: "workspace", mountPath: workspaceFolder },
    { name: "control", mountPath: controlFolder },
  ];
  const shared = {
    image,
    imagePullPolicy: "IfNotPresent",
    volumeMounts,
    securityContext: { allowPrivilegeEscalation: false },
  };
  const env = { HOME: `${controlFolder}/home`, KWS_OUTPUTS: `${controlFolder}/outputs`, ...options.env };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: options.namespace, labels: labelsOf(options) },
    spec: {
      restartPolicy: "Never",
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 1,
      activeDeadlineSeconds: options.deadlineSeconds,
      securityContext: root
        ? { runAsUser: 0 }
        : { runAsNonRoot: true, runAsUser: ordinaryUser, runAsGroup: ordinaryUser, fsGroup: ordinaryUser },
      containers: [
        {
          ...shared,
          name: stepContainer,
          command: ["sh", "-c", waiting, "kws", ...argv],
          env: [
            ...Object.entries(env).map(([key, value]) => ({ name: key, value })),
            ...options.secrets.map((key) => ({ name: key, valueFrom: { secretKeyRef: { name, key } } })),
          ],
          resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu, memory } },
        },
        {
          ...shared,
          name: filesContainer,
          command: [
            "sh",
            "-c",
            `mkdir -p ${controlFolder}/home; trap 'exit 0' TERM; sleep 2147483647 & wait`,
          ],
          resources: { requests: { cpu: "10m", memory: "16Mi" }, limits: { cpu: "1", memory: "256Mi" } },
        },
      ],
      volumes: [
        { name: "workspace", emptyDir: {} },
        { name: "control", emptyDir: {} },
      ],
    },
  };
}

export function stepSecret(options: StepPod, values: Record<string, string>): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: options.name, namespace: options.namespace, labels: labelsOf(options) },
    type: "Opaque",
    stringData: values,
  };
}

function labelsOf({ run, job }: StepPod): Record<string, string> {
  return { [managedByLabel]: fieldManager, [runLabel]: run, [jobLabel]: job.id };
}
