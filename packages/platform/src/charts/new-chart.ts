/** The first chart of a service that has none: small, readable, the user's own from then on. For `kws init`. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "@kws/base/errors";
import { libraryFiles } from "./library.ts";
import { yamlString } from "../project/yaml-file.ts";

export interface NewChart {
  service: string;
  /** Where the program listens; undefined for one that does not, or of which it is not known. */
  port?: number;
}

/** The files by their paths inside the chart's folder; the library chart is among them. */
export async function newChart({ service, port }: NewChart): Promise<Record<string, string>> {
  return {
    "Chart.yaml": `apiVersion: v2
name: ${yamlString(service)}
description: The service ${service}
type: application
version: 0.1.0
dependencies:
  - { name: kws, version: 1.x }
`,
    "values.yaml": `# Filled in by kws with the image that it builds.
image:
  repository: ${yamlString(service)}
  tag: latest
  digest: ""
replicas: 1
# Where the program listens. 0: it does not, and has neither a Service nor a probe.
port: ${port ?? 0}
# Environment variables: plain ones, and those for profiles/<profile>/secrets.yaml. Pods are replaced when one changes.
config: {}
secrets: {}
resources:
  requests: { cpu: 10m, memory: 64Mi }
ingress:
  enabled: false
  domain: localhost
`,
    "profiles/local/values.yaml": `# For a stack on this machine.
ingress:
  enabled: true
`,
    "templates/configuration.yaml": `{{ include "kws.configuration" . }}
`,
    "templates/deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "kws.name" . | quote }}
  labels:
    {{- include "kws.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels:
      {{- include "kws.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "kws.selector" . | nindent 8 }}
      annotations:
        {{- include "kws.checksum" . | nindent 8 }}
    spec:
      containers:
        - name: {{ .Chart.Name | quote }}
          image: {{ include "kws.image" .Values.image }}
          {{- if .Values.port }}
          env:
            - { name: PORT, value: {{ .Values.port | quote }} }
          ports:
            - { name: http, containerPort: {{ .Values.port }} }
          {{- include "kws.probes" . | nindent 10 }}
          {{- end }}
          {{- include "kws.envFrom" . | nindent 10 }}
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
`,
    "templates/service.yaml": `{{- if .Values.port }}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "kws.serviceName" . | quote }}
  labels:
    {{- include "kws.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "kws.selector" . | nindent 4 }}
  ports:
    - { name: http, port: 80, targetPort: http }
{{- end }}
`,
    "templates/ingress.yaml": `{{- if and .Values.port .Values.ingress.enabled }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "kws.name" . | quote }}
  labels:
    {{- include "kws.labels" . | nindent 4 }}
spec:
  rules:
    - host: {{ include "kws.name" . }}.{{ .Release.Namespace }}.{{ .Values.ingress.domain }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ include "kws.serviceName" . | quote }}
                port: { name: http }
{{- end }}
`,
    ...(await libraryFiles()),
  };
}

/** Files of a small Node service in which its port is usually written. */
const programs = ["server", "index", "main", "app", "src/server", "src/index", "src/main", "src/app"];

/** Where the program in a folder listens: what EXPOSE says, else what a Node program's own text says. */
export async function portOf(dir: string, dockerfile?: string): Promise<number | undefined> {
  const text = dockerfile === undefined ? "" : await textOf(join(dir, dockerfile));
  const exposed = /^\s*EXPOSE\s+(\d+)/im.exec(text)?.[1];
  if (exposed !== undefined) return valid(exposed);
  for (const program of programs) {
    for (const ending of ["js", "mjs", "ts"]) {
      const source = await textOf(join(dir, `${program}.${ending}`));
      const found = /(?:PORT["'\])]*\s*(?:\?\?|\|\|)\s*|listen\(\s*)["']?(\d{2,5})\b/.exec(source)?.[1];
      if (found !== undefined) return valid(found);
    }
  }
  return undefined;
}

function valid(text: string): number | undefined {
  const port = Number(text);
  return port > 0 && port < 65_536 ? port : undefined;
}

async function textOf(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).slice(0, 1_000_000);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EISDIR", "EACCES")) return "";
    throw error;
  }
}
