/** The templates beside a service's workload: Services, Ingress, claims, and the files that the chart carries. */
import { Template } from "../templates.ts";
import { compact } from "./container.ts";
import { isText } from "./files.ts";
import type { Volumes } from "./mounts.ts";
import { nameOf, type Parts, serviceNameOf } from "./parts.ts";
import { get, text } from "./tree.ts";

/** Of a claim, or of a template of claims. */
export function claimSpec(template: Template, volume: string): object {
  const value = (key: string) => `(index .Values.storage ${JSON.stringify(volume)}).${key}`;
  return {
    accessModes: template.expression(`{{ ${value("accessModes")} | toJson }}`),
    [template.optional("storageClassName", value("class"))]: null,
    resources: { requests: { storage: template.expression(`{{ ${value("size")} }}`) } },
  };
}

/** The Service, and one for each other name. Without a known port it is headless: the name leads to the pods, whatever the port. */
export function servicesYaml({ service, ports }: Parts): string {
  const template = new Template();
  const isHeadless = ports.length === 0 || text(get(service.tree, "deploy", "endpoint_mode")) === "dnsrr";
  const one = (name: string): string =>
    template.write({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, labels: template.block('include "kws.labels" .') },
      spec: compact({
        ...(isHeadless ? { clusterIP: "None" } : { type: template.expression("{{ .Values.serviceType }}") }),
        selector: template.block('include "kws.selector" .'),
        ports: ports.map(({ name: port, port: number, protocol, appProtocol }) =>
          compact({
            name: port,
            port: number,
            targetPort: port,
            protocol: protocol === "TCP" ? undefined : protocol,
            appProtocol,
          }),
        ),
      }),
    });
  return [one(template.expression(serviceNameOf)), ...service.aliases.map(one)].join("---\n");
}

/** For the port called `http`. */
export function ingressYaml(): string {
  const template = new Template();
  const written = template.write({
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: { name: template.expression(nameOf), labels: template.block('include "kws.labels" .') },
    spec: {
      rules: [
        {
          host: template.expression(
            '{{ include "kws.name" . }}.{{ .Release.Namespace }}.{{ .Values.ingress.domain }}',
          ),
          http: {
            paths: [
              {
                path: "/",
                pathType: "Prefix",
                backend: { service: { name: template.expression(serviceNameOf), port: { name: "http" } } },
              },
            ],
          },
        },
      ],
    },
  });
  return `{{- if .Values.ingress.enabled }}\n${written}{{- end }}\n`;
}

/** Claims outlive the release, as volumes outlive `docker compose down`. */
export function claimsYaml(volumes: Set<string>): string {
  return [...volumes]
    .map((volume) => {
      const template = new Template();
      return template.write({
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        metadata: {
          name: volume,
          labels: template.block('include "kws.labels" .'),
          annotations: { "helm.sh/resource-policy": "keep" },
        },
        spec: claimSpec(template, volume),
      });
    })
    .join("---\n");
}

/** The files themselves, and the ConfigMap and Secret of them. */
export function addFiles(files: Map<string, string | Uint8Array>, volumes: Volumes): void {
  const { plain, secret } = volumes.files;
  for (const [key, content] of plain) files.set(`${isText(content) ? "files" : "binary"}/${key}`, content);
  const template = new Template();
  const metadata = (suffix: string) => ({
    name: template.expression(`{{ include "kws.name" . }}-${suffix}`),
    labels: template.block('include "kws.labels" .'),
  });
  if (plain.size > 0) {
    const contents = [...plain.values()];
    const object: Record<string, unknown> = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: metadata("files"),
    };
    if (contents.some(isText)) object["data"] = template.block('(.Files.Glob "files/*").AsConfig');
    if (contents.some((one) => !isText(one)))
      object["binaryData"] = template.block('(.Files.Glob "binary/*").AsSecrets');
    files.set("templates/files.yaml", template.write(object));
  }
  if (secret.size > 0) {
    const head = template.write({
      apiVersion: "v1",
      kind: "Secret",
      metadata: metadata("secret-files"),
      type: "Opaque",
    });
    files.set(
      "templates/secret-files.yaml",
      `${head}data:
  {{- $data := include "kws.data" (dict "of" "secretFiles" "values" .Values.secretFiles) | fromJson }}
  {{- range $key, $value := $data.text }}
  {{ $key | quote }}: {{ $value | b64enc | quote }}
  {{- end }}
  {{- range $key, $value := $data.base64 }}
  {{ $key | quote }}: {{ $value | quote }}
  {{- end }}
`,
    );
  }
}
