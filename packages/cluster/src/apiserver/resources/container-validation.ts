/** The rules of the containers of a pod: names, images, ports, environment, mounts, resources, probes, hooks. */
import { compareQuantities, isQuantity } from "@kws/kube/quantity";
import type { StatusCause } from "@kws/kube/status";
import {
  duplicate,
  forbidden,
  invalid,
  nonNegative,
  notFound,
  notSupported,
  oneOf,
  portNumber,
  required,
} from "./cause.ts";
import { checkConfigMapKey, checkDns1123Label, checkEnvName, checkPortName } from "./names.ts";
import { list } from "./loose.ts";
import { quantityCauses } from "./quantities.ts";
import type { Fields } from "./resource.ts";

type Role = "containers" | "initContainers" | "ephemeralContainers";

export function validateContainers(spec: Fields, path: string, volumes: Set<string>): StatusCause[] {
  const causes: StatusCause[] = [];
  if (list(spec["containers"]).length === 0) causes.push(required(`${path}.containers`));
  const names = new Set<string>();
  const hostPorts = new Set<string>();
  for (const role of ["containers", "initContainers", "ephemeralContainers"] as const) {
    for (const [index, container] of list(spec[role]).entries()) {
      const at = `${path}.${role}[${index}]`;
      const name = String(container["name"] ?? "");
      if (name !== "" && names.has(name)) causes.push(duplicate(`${at}.name`, name));
      names.add(name);
      causes.push(...validateContainer(container, at, role, volumes));
      if (role === "containers") causes.push(...validateHostPorts(container, at, spec, hostPorts));
    }
  }
  return causes;
}

function validateContainer(container: Fields, path: string, role: Role, volumes: Set<string>): StatusCause[] {
  const causes: StatusCause[] = [];
  const { name, image } = container;
  if (!name) causes.push(required(`${path}.name`));
  else causes.push(...checkDns1123Label(String(name)).map((detail) => invalid(`${path}.name`, name, detail)));
  if (!image) causes.push(required(`${path}.image`));
  else if (String(image).trim() !== image) {
    causes.push(invalid(`${path}.image`, image, "must not have leading or trailing whitespace"));
  }
  causes.push(
    ...oneOf(`${path}.imagePullPolicy`, container["imagePullPolicy"], ["Always", "IfNotPresent", "Never"]),
    ...oneOf(`${path}.terminationMessagePolicy`, container["terminationMessagePolicy"], [
      "FallbackToLogsOnError",
      "File",
    ]),
    ...validatePorts(list(container["ports"]), `${path}.ports`),
    ...validateEnvironment(container, path),
    ...validateMounts(list(container["volumeMounts"]), `${path}.volumeMounts`, volumes),
    ...validateResources(container["resources"] ?? {}, `${path}.resources`),
  );
  const sidecar = role === "initContainers" && container["restartPolicy"] === "Always";
  if (role === "initContainers" && container["restartPolicy"] && !sidecar) {
    causes.push(notSupported(`${path}.restartPolicy`, container["restartPolicy"], ["Always"]));
  }
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    if (!container[probe]) continue;
    if (role !== "containers" && !sidecar) {
      const detail =
        role === "ephemeralContainers"
          ? "cannot be set for an Ephemeral Container"
          : "may not be set for init containers without restartPolicy=Always";
      causes.push(forbidden(`${path}.${probe}`, detail));
    } else causes.push(...validateProbe(container[probe], `${path}.${probe}`, probe !== "readinessProbe"));
  }
  for (const hook of ["postStart", "preStop"]) {
    const handler: Fields | undefined = container["lifecycle"]?.[hook] ?? undefined;
    if (handler !== undefined) {
      causes.push(
        ...validateHandler(handler, `${path}.lifecycle.${hook}`, ["exec", "httpGet", "sleep", "tcpSocket"]),
      );
    }
  }
  return [
    ...causes,
    ...validateSecurityContext(container["securityContext"] ?? {}, `${path}.securityContext`),
  ];
}

function validatePorts(ports: Fields[], path: string): StatusCause[] {
  const names = new Set<string>();
  return ports.flatMap((port, index) => {
    const at = `${path}[${index}]`;
    const causes: StatusCause[] = [];
    const name = port["name"];
    if (name) {
      const problems = checkPortName(String(name));
      causes.push(...problems.map((detail) => invalid(`${at}.name`, name, detail)));
      if (problems.length === 0 && names.has(name)) causes.push(duplicate(`${at}.name`, name));
      names.add(name);
    }
    if (!port["containerPort"]) causes.push(required(`${at}.containerPort`));
    else causes.push(...portNumber(`${at}.containerPort`, port["containerPort"]));
    if (port["hostPort"]) causes.push(...portNumber(`${at}.hostPort`, port["hostPort"]));
    return [...causes, ...oneOf(`${at}.protocol`, port["protocol"], ["SCTP", "TCP", "UDP"])];
  });
}

function validateHostPorts(container: Fields, path: string, spec: Fields, taken: Set<string>): StatusCause[] {
  return list(container["ports"]).flatMap((port, index) => {
    const at = `${path}.ports[${index}]`;
    if (!port["hostPort"]) return [];
    if (spec["hostNetwork"] === true && port["hostPort"] !== port["containerPort"]) {
      return [
        invalid(
          `${at}.containerPort`,
          port["containerPort"],
          "must match `hostPort` when `hostNetwork` is true",
        ),
      ];
    }
    const key = `${port["protocol"]}/${port["hostIP"] ?? ""}/${port["hostPort"]}`;
    if (taken.has(key)) return [duplicate(`${at}.hostPort`, key)];
    taken.add(key);
    return [];
  });
}

const sources = ["configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"];

function validateEnvironment(container: Fields, path: string): StatusCause[] {
  const causes = list(container["env"]).flatMap((variable, index) => {
    const at = `${path}.env[${index}]`;
    const name = String(variable["name"] ?? "");
    const found =
      name === ""
        ? [required(`${at}.name`)]
        : checkEnvName(name).map((detail) => invalid(`${at}.name`, name, detail));
    const from: Fields | undefined = variable["valueFrom"] ?? undefined;
    if (from === undefined) return found;
    const given = sources.filter((source) => from[source]);
    if (variable["value"])
      found.push(invalid(`${at}.valueFrom`, "", "may not be specified when `value` is not empty"));
    if (given.length === 0) {
      found.push(
        invalid(
          `${at}.valueFrom`,
          "",
          "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
      );
    } else if (given.length > 1) {
      found.push(invalid(`${at}.valueFrom`, "", "may not have more than one field specified at a time"));
    }
    for (const source of ["configMapKeyRef", "secretKeyRef"]) {
      const reference: Fields | undefined = from[source] ?? undefined;
      if (reference === undefined) continue;
      const key = String(reference["key"] ?? "");
      if (key === "") found.push(required(`${at}.valueFrom.${source}.key`));
      else
        found.push(
          ...checkConfigMapKey(key).map((detail) => invalid(`${at}.valueFrom.${source}.key`, key, detail)),
        );
    }
    if (from["fieldRef"] && !from["fieldRef"].fieldPath)
      found.push(required(`${at}.valueFrom.fieldRef.fieldPath`));
    if (from["resourceFieldRef"] && !from["resourceFieldRef"].resource) {
      found.push(required(`${at}.valueFrom.resourceFieldRef.resource`));
    }
    return found;
  });
  for (const [index, source] of list(container["envFrom"]).entries()) {
    const at = `${path}.envFrom[${index}]`;
    if (!source["configMapRef"] && !source["secretRef"]) {
      causes.push(invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"));
    }
    for (const field of ["configMapRef", "secretRef"]) {
      if (source[field] && !source[field].name) causes.push(required(`${at}.${field}.name`));
    }
  }
  return causes;
}

function validateMounts(mounts: Fields[], path: string, volumes: Set<string>): StatusCause[] {
  const paths = new Set<string>();
  return mounts.flatMap((mount, index) => {
    const at = `${path}[${index}]`;
    const causes: StatusCause[] = [];
    const { name, mountPath, subPath, subPathExpr } = mount;
    if (!name) causes.push(required(`${at}.name`));
    else if (!volumes.has(name)) {
      causes.push(notFound(`${at}.name`, name));
    }
    if (!mountPath) causes.push(required(`${at}.mountPath`));
    else if (paths.has(mountPath)) causes.push(invalid(`${at}.mountPath`, mountPath, "must be unique"));
    paths.add(mountPath);
    if (subPath && subPathExpr) {
      causes.push(
        invalid(`${at}.subPathExpr`, subPathExpr, "subPathExpr and subPath are mutually exclusive"),
      );
    }
    for (const [field, value] of Object.entries({ subPath, subPathExpr })) {
      if (!value) continue;
      if (String(value).startsWith("/"))
        causes.push(invalid(`${at}.${field}`, value, "must be a relative path"));
      if (String(value).split("/").includes(".."))
        causes.push(invalid(`${at}.${field}`, value, "must not contain '..'"));
    }
    return causes;
  });
}

export function validateResources(resources: Fields, path: string): StatusCause[] {
  const causes = [
    ...quantityCauses(`${path}.limits`, resources["limits"]),
    ...quantityCauses(`${path}.requests`, resources["requests"]),
  ];
  for (const [name, request] of Object.entries(resources["requests"] ?? {})) {
    const limit = resources["limits"]?.[name];
    if (!isQuantity(request) || !isQuantity(limit) || compareQuantities(request, limit) <= 0) continue;
    causes.push(
      invalid(`${path}.requests`, String(request), `must be less than or equal to ${name} limit of ${limit}`),
    );
  }
  return causes;
}

function validateProbe(probe: Fields, path: string, oneSuccess: boolean): StatusCause[] {
  const causes = validateHandler(probe, path, ["exec", "grpc", "httpGet", "tcpSocket"]);
  for (const field of [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
  ]) {
    causes.push(...nonNegative(`${path}.${field}`, probe[field]));
  }
  if (oneSuccess && probe["successThreshold"] !== undefined && probe["successThreshold"] !== 1) {
    causes.push(invalid(`${path}.successThreshold`, probe["successThreshold"], "must be 1"));
  }
  return causes;
}

function validateHandler(handler: Fields, path: string, kinds: string[]): StatusCause[] {
  const given = kinds.filter((kind) => handler[kind]);
  if (given.length === 0) return [required(path, "must specify a handler type")];
  if (given.length > 1) {
    return given
      .slice(1)
      .map((kind) => forbidden(`${path}.${kind}`, "may not specify more than 1 handler type"));
  }
  const kind = given[0] ?? "";
  const action: Fields = handler[kind] ?? {};
  const at = `${path}.${kind}`;
  if (kind === "exec") return action["command"]?.length ? [] : [required(`${at}.command`)];
  if (kind === "sleep") return [];
  const causes = kind === "httpGet" ? oneOf(`${at}.scheme`, action["scheme"], ["HTTP", "HTTPS"]) : [];
  if (typeof action["port"] === "string" && !/^\d+$/.test(action["port"])) {
    return [
      ...causes,
      ...checkPortName(action["port"]).map((detail) => invalid(`${at}.port`, action["port"], detail)),
    ];
  }
  return [...causes, ...portNumber(`${at}.port`, Number(action["port"] ?? 0))];
}

function validateSecurityContext(context: Fields, path: string): StatusCause[] {
  const causes = [
    ...nonNegative(`${path}.runAsUser`, context["runAsUser"]),
    ...nonNegative(`${path}.runAsGroup`, context["runAsGroup"]),
  ];
  const escalation = context["allowPrivilegeEscalation"];
  if (escalation === false && context["privileged"] === true) {
    causes.push(
      invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"),
    );
  }
  return causes;
}
