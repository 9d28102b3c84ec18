/** Ingresses, IngressClasses, NetworkPolicies, ServiceCIDRs and IPAddresses. */
import { BlockList, isIP } from "node:net";
import type { StatusCause } from "@kws/kube/status";
import { forbidden, immutable, invalid, oneOf, portNumber, required } from "./cause.ts";
import { checkDns1123Subdomain } from "./names.ts";
import { list, textOf } from "./loose.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { validateLabelSelector } from "./selector-validation.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, formatLabelSelector, nameColumn, orNone } from "./table.ts";

export const ingress: ResourceDefinition = define(
  { group: "networking.k8s.io", kind: "Ingress", resource: "ingresses" },
  {
    shortNames: ["ing"],
    hasStatus: true,
    prepareForCreate(object) {
      object["status"] = { loadBalancer: {} };
    },
    validate(object) {
      const spec: Fields = object["spec"] ?? {};
      const causes: StatusCause[] = [];
      if (list(spec["rules"]).length === 0 && !spec["defaultBackend"]) {
        causes.push(invalid("spec", [], "either `defaultBackend` or `rules` must be specified"));
      }
      if (spec["defaultBackend"])
        causes.push(...validateBackend("spec.defaultBackend", spec["defaultBackend"]));
      if (spec["ingressClassName"]) {
        for (const detail of checkDns1123Subdomain(String(spec["ingressClassName"]))) {
          causes.push(invalid("spec.ingressClassName", spec["ingressClassName"], detail));
        }
      }
      for (const [index, rule] of list(spec["rules"]).entries()) {
        causes.push(...validateHost(`spec.rules[${index}].host`, rule["host"]));
        if (rule["http"])
          causes.push(...validatePaths(`spec.rules[${index}].http.paths`, list(rule["http"].paths)));
      }
      return causes;
    },
    columns: [
      nameColumn,
      column("Class", "The class of controllers that serves it."),
      column("Hosts", "Hosts that requests are matched against."),
      column("Address", "Where it can be reached."),
      column("Ports", "Ports that are open."),
      ageColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const hosts = list(spec["rules"]).map((rule) => String(rule["host"] || "*"));
      const shown = hosts.slice(0, 3).join(",");
      const rest = hosts.length > 3 ? ` + ${hosts.length - 3} more...` : "";
      const addresses = list(object["status"]?.loadBalancer?.ingress).map(
        (entry) => entry["ip"] || entry["hostname"],
      );
      return [
        object.metadata.name,
        orNone(spec["ingressClassName"]),
        hosts.length === 0 ? "*" : `${shown}${rest}`,
        addresses.join(","),
        list(spec["tls"]).length > 0 ? "80, 443" : "80",
        age(object, now),
      ];
    },
  },
);

function validateHost(field: string, host: unknown): StatusCause[] {
  if (host === undefined || host === null || host === "") return [];
  const text = textOf(host);
  if (/^[\d.]+$/.test(text) && text.split(".").length === 4) {
    return [invalid(field, text, "must be a DNS name, not an IP address")];
  }
  return checkDns1123Subdomain(text.startsWith("*.") ? text.slice(2) : text).map((detail) =>
    invalid(field, text, detail),
  );
}

function validatePaths(path: string, paths: Fields[]): StatusCause[] {
  if (paths.length === 0) return [required(path)];
  return paths.flatMap((entry, index) => {
    const at = `${path}[${index}]`;
    const causes = entry["pathType"]
      ? oneOf(`${at}.pathType`, entry["pathType"], ["Exact", "ImplementationSpecific", "Prefix"])
      : [required(`${at}.pathType`, "pathType must be specified")];
    const text = String(entry["path"] ?? "");
    if (entry["pathType"] !== "ImplementationSpecific" || text !== "") {
      if (!text.startsWith("/")) causes.push(invalid(`${at}.path`, text, "must be an absolute path"));
    }
    return [...causes, ...validateBackend(`${at}.backend`, entry["backend"] ?? {})];
  });
}

function validateBackend(path: string, backend: Fields): StatusCause[] {
  const { service, resource } = backend;
  if (service && resource) return [invalid(path, "", "cannot set both resource and service backends")];
  if (!service && !resource) return [required(path, "must provide a service or a resource backend")];
  if (!service) return [];
  const causes = service.name ? [] : [required(`${path}.service.name`)];
  const port: Fields = service.port ?? {};
  if (!port["name"] && !port["number"]) {
    causes.push(required(`${path}.service.port`, "port name or number is required"));
  } else if (port["name"] && port["number"]) {
    causes.push(invalid(`${path}.service.port`, "", "cannot set both port name & port number"));
  } else if (port["number"]) causes.push(...portNumber(`${path}.service.port.number`, port["number"]));
  return causes;
}

export const ingressClass: ResourceDefinition = define(
  { group: "networking.k8s.io", kind: "IngressClass", resource: "ingressclasses", namespaced: false },
  {
    setDefaults(object) {
      const parameters = object["spec"]?.parameters;
      if (parameters) parameters.scope ??= "Cluster";
    },
    validate(object, old) {
      const controller = object["spec"]?.controller;
      if (old !== undefined) return immutable("spec.controller", controller, old["spec"]?.controller);
      return controller ? [] : [required("spec.controller")];
    },
    columns: [
      nameColumn,
      column("Controller", "The controller that serves Ingresses of this class."),
      column("Parameters", "An object with further settings."),
      ageColumn,
    ],
    row(object, now) {
      const { controller = "", parameters } = object["spec"] ?? {};
      const kind = parameters
        ? `${parameters.kind}${parameters.apiGroup ? `.${parameters.apiGroup}` : ""}`
        : "";
      return [
        object.metadata.name,
        controller,
        parameters ? `${kind}/${parameters.name}` : "<none>",
        age(object, now),
      ];
    },
  },
);

export const networkPolicy: ResourceDefinition = define(
  { group: "networking.k8s.io", kind: "NetworkPolicy", resource: "networkpolicies" },
  {
    shortNames: ["netpol"],
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      if (!spec.policyTypes?.length) {
        spec.policyTypes = list(spec.egress).length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
      }
      for (const rule of [...list(spec.ingress), ...list(spec.egress)]) {
        for (const port of list(rule["ports"])) port["protocol"] ??= "TCP";
      }
    },
    validate(object) {
      const spec: Fields = object["spec"] ?? {};
      const causes = validateLabelSelector("spec.podSelector", spec["podSelector"]);
      for (const direction of ["ingress", "egress"]) {
        const peers = direction === "ingress" ? "from" : "to";
        for (const [index, rule] of list(spec[direction]).entries()) {
          for (const [at, peer] of list(rule[peers]).entries()) {
            const path = `spec.${direction}[${index}].${peers}[${at}]`;
            if (!peer["podSelector"] && !peer["namespaceSelector"] && !peer["ipBlock"]) {
              causes.push(required(path, "must specify a peer"));
            }
            if (peer["ipBlock"] && (peer["podSelector"] || peer["namespaceSelector"])) {
              causes.push(forbidden(path, "may not specify both ipBlock and another peer"));
            }
            if (peer["ipBlock"]) causes.push(...validateBlock(`${path}.ipBlock`, peer["ipBlock"]));
            for (const selector of ["podSelector", "namespaceSelector"]) {
              if (peer[selector])
                causes.push(...validateLabelSelector(`${path}.${selector}`, peer[selector]));
            }
          }
          for (const [at, port] of list(rule["ports"]).entries()) {
            const path = `spec.${direction}[${index}].ports[${at}]`;
            causes.push(...oneOf(`${path}.protocol`, port["protocol"], ["SCTP", "TCP", "UDP"]));
            if (typeof port["port"] === "number") causes.push(...portNumber(`${path}.port`, port["port"]));
            causes.push(...validateEndPort(path, port));
          }
        }
      }
      for (const type of spec["policyTypes"] ?? []) {
        causes.push(...oneOf("spec.policyTypes", type, ["Egress", "Ingress"]));
      }
      return causes;
    },
    columns: [nameColumn, column("Pod-Selector", "The pods it applies to."), ageColumn],
    row: (object, now) => [
      object.metadata.name,
      formatLabelSelector(object["spec"]?.podSelector),
      age(object, now),
    ],
  },
);

function validateBlock(path: string, { cidr, except }: Fields): StatusCause[] {
  if (!cidr) return [required(`${path}.cidr`)];
  const block = rangeOf(textOf(cidr));
  if (block === undefined) {
    return [invalid(`${path}.cidr`, cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")];
  }
  const ranges: unknown[] = Array.isArray(except) ? except : [];
  return ranges.flatMap((range, index) => {
    const at = `${path}.except[${index}]`;
    const inner = rangeOf(textOf(range));
    if (inner === undefined) return [invalid(at, range, "must be a valid CIDR value, (e.g. 10.9.8.0/24)")];
    const outer = new BlockList();
    outer.addSubnet(block.address, block.bits, block.family);
    const within = inner.bits > block.bits && outer.check(inner.address, inner.family);
    return within ? [] : [invalid(at, range, "must be a strict subset of `cidr`")];
  });
}

function rangeOf(text: string): { address: string; bits: number; family: "ipv4" | "ipv6" } | undefined {
  const [address = "", bits = "", ...more] = text.split("/");
  const version = isIP(address);
  if (version === 0 || more.length > 0 || !/^\d{1,3}$/.test(bits)) return undefined;
  if (Number(bits) > (version === 4 ? 32 : 128)) return undefined;
  return { address, bits: Number(bits), family: version === 4 ? "ipv4" : "ipv6" };
}

function validateEndPort(path: string, { port, endPort }: Fields): StatusCause[] {
  if (endPort === undefined || endPort === null) return [];
  if (typeof port !== "number") {
    const detail = "may not be specified when `port` is not specified or is a name";
    return [invalid(`${path}.endPort`, endPort, detail)];
  }
  if (Number(endPort) < port) {
    return [invalid(`${path}.endPort`, endPort, "must be greater than or equal to `port`")];
  }
  return portNumber(`${path}.endPort`, endPort);
}

export const serviceCidr: ResourceDefinition = define(
  { group: "networking.k8s.io", kind: "ServiceCIDR", resource: "servicecidrs", namespaced: false },
  {
    hasStatus: true,
    columns: [nameColumn, column("CIDRs", "Ranges of Service addresses."), ageColumn],
    row: (object, now) => [object.metadata.name, (object["spec"]?.cidrs ?? []).join(","), age(object, now)],
  },
);

export const ipAddress: ResourceDefinition = define(
  { group: "networking.k8s.io", kind: "IPAddress", resource: "ipaddresses", namespaced: false },
  {
    shortNames: ["ip"],
    columns: [nameColumn, column("ParentRef", "What the address was given to.")],
    row(object) {
      const parent: Fields = object["spec"]?.parentRef ?? {};
      const path = [parent["group"], parent["resource"], parent["namespace"], parent["name"]].filter(Boolean);
      return [object.metadata.name, path.length === 0 ? "<none>" : path.join("/")];
    },
  },
);
