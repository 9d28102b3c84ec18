/** The rules of Services. */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import { duplicate, forbidden, invalid, oneOf, portNumber, required } from "./cause.ts";
import { checkDns1123Label, checkDns1123Subdomain, checkPortName } from "./names.ts";
import { list } from "./loose.ts";
import { validateLabels } from "./metadata.ts";
import type { Fields } from "./resource.ts";

const types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

export function validateService(object: KubeObject, old?: KubeObject): StatusCause[] {
  const spec: Fields = object["spec"] ?? {};
  const ports = list(spec["ports"]);
  const causes = [
    ...oneOf("spec.type", spec["type"], types),
    ...oneOf("spec.sessionAffinity", spec["sessionAffinity"], ["ClientIP", "None"]),
    ...validateLabels("spec.selector", spec["selector"]),
    ...validatePorts(ports, spec),
  ];
  const headless = spec["clusterIP"] === "None";
  if (ports.length === 0 && !headless && spec["type"] !== "ExternalName") causes.push(required("spec.ports"));
  if (headless && (spec["type"] === "LoadBalancer" || spec["type"] === "NodePort")) {
    const detail = `may not be set to 'None' for ${spec["type"]} services`;
    causes.push(invalid("spec.clusterIPs[0]", "None", detail));
  }
  if (spec["type"] === "ExternalName") causes.push(...validateExternalName(spec));
  const timeout = spec["sessionAffinityConfig"]?.clientIP?.timeoutSeconds;
  if (timeout !== undefined && !(timeout > 0 && timeout <= 86_400)) {
    causes.push(
      invalid(
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        timeout,
        "must be greater than 0 and less than 86400",
      ),
    );
  }
  if (spec["externalTrafficPolicy"] !== undefined) {
    causes.push(...oneOf("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], ["Cluster", "Local"]));
  }
  if (spec["internalTrafficPolicy"] !== undefined) {
    causes.push(...oneOf("spec.internalTrafficPolicy", spec["internalTrafficPolicy"], ["Cluster", "Local"]));
  }
  return old === undefined ? causes : [...causes, ...validateAddressUpdate(spec, old["spec"] ?? {})];
}

function validateExternalName(spec: Fields): StatusCause[] {
  const name = String(spec["externalName"] ?? "").replace(/\.$/, "");
  const causes =
    name === ""
      ? [required("spec.externalName")]
      : checkDns1123Subdomain(name).map((detail) => invalid("spec.externalName", name, detail));
  if (spec["clusterIP"]) causes.push(forbidden("spec.clusterIP", "may not be set for ExternalName services"));
  return causes;
}

function validatePorts(ports: Fields[], spec: Fields): StatusCause[] {
  const names = new Set<string>();
  const seen = new Set<string>();
  return ports.flatMap((port, index) => {
    const at = `spec.ports[${index}]`;
    const causes: StatusCause[] = [];
    const name = String(port["name"] ?? "");
    if (name === "") {
      if (ports.length > 1) causes.push(required(`${at}.name`));
    } else {
      causes.push(...checkDns1123Label(name).map((detail) => invalid(`${at}.name`, name, detail)));
      if (names.has(name)) causes.push(duplicate(`${at}.name`, name));
      names.add(name);
    }
    causes.push(...portNumber(`${at}.port`, port["port"] ?? 0));
    causes.push(...oneOf(`${at}.protocol`, port["protocol"], ["SCTP", "TCP", "UDP"]));
    const target: unknown = port["targetPort"];
    if (typeof target === "number") causes.push(...portNumber(`${at}.targetPort`, target));
    else if (typeof target === "string") {
      causes.push(...checkPortName(target).map((detail) => invalid(`${at}.targetPort`, target, detail)));
    }
    if (port["nodePort"] && spec["type"] === "ClusterIP") {
      causes.push(forbidden(`${at}.nodePort`, "may not be used when `type` is 'ClusterIP'"));
    }
    const key = `${port["protocol"]}/${port["port"]}`;
    if (seen.has(key)) {
      causes.push(
        duplicate(at, { ...(name === "" ? {} : { name }), protocol: port["protocol"], port: port["port"] }),
      );
    }
    seen.add(key);
    return causes;
  });
}

/** The first address stays for as long as the Service has one. */
function validateAddressUpdate(spec: Fields, old: Fields): StatusCause[] {
  if (spec["type"] === "ExternalName" || old["type"] === "ExternalName" || !old["clusterIP"]) return [];
  if (spec["clusterIP"] === old["clusterIP"]) return [];
  return [invalid("spec.clusterIPs[0]", spec["clusterIPs"] ?? null, "may not change once set")];
}
