/** Services. Addresses and node ports are given out by admission; here stand defaults, rules and the table. */
import type { KubeObject } from "@kws/kube/object";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { list } from "./loose.ts";
import { validateService } from "./service-validation.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, formatLabels, nameColumn, orNone, selectorColumn } from "./table.ts";

export const service: ResourceDefinition = define(
  { group: "", kind: "Service", resource: "services" },
  {
    shortNames: ["svc"],
    categories: ["all"],
    hasStatus: true,
    nameFormat: "dns1035label",
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.type ||= "ClusterIP";
      spec.sessionAffinity ||= "None";
      if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
      if (spec.sessionAffinity === "ClientIP") {
        spec.sessionAffinityConfig ??= {};
        spec.sessionAffinityConfig.clientIP ??= {};
        spec.sessionAffinityConfig.clientIP.timeoutSeconds ??= 10_800;
      }
      for (const port of list(spec.ports)) {
        port["protocol"] ||= "TCP";
        if (port["targetPort"] === undefined || port["targetPort"] === "" || port["targetPort"] === 0) {
          port["targetPort"] = port["port"];
        }
      }
      const external = spec.type === "NodePort" || spec.type === "LoadBalancer";
      if (external) spec.externalTrafficPolicy ||= "Cluster";
      if (spec.type !== "ExternalName") spec.internalTrafficPolicy ??= "Cluster";
      if (spec.type === "LoadBalancer") spec.allocateLoadBalancerNodePorts ??= true;
      setAddressDefaults(spec);
    },
    prepareForCreate(object) {
      object["status"] = { loadBalancer: {} };
      dropTypeDependent(object["spec"] ?? {});
    },
    prepareForUpdate(object, old) {
      object["status"] = old["status"];
      patchAllocated(object["spec"] ?? {}, old["spec"] ?? {});
      dropTypeDependent(object["spec"] ?? {});
    },
    validate: validateService,
    selectableFields: {
      "spec.clusterIP": (object) => object["spec"]?.clusterIP ?? "",
      "spec.type": (object) => object["spec"]?.type ?? "",
    },
    columns: [
      nameColumn,
      column("Type", "How the Service is exposed."),
      column("Cluster-IP", "The address of the Service within the cluster."),
      column("External-IP", "Addresses at which it is reached from outside."),
      column("Port(s)", "The ports it listens on, with their node ports."),
      ageColumn,
      selectorColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      return [
        object.metadata.name,
        spec["type"] ?? "",
        orNone(spec["clusterIPs"]?.[0] ?? spec["clusterIP"]),
        externalOf(object),
        portsOf(spec),
        age(object, now),
        formatLabels(spec["selector"]),
      ];
    },
  },
);

/** One address family, as a cluster without IPv6 gives; `clusterIP` and the first of `clusterIPs` are one value. */
function setAddressDefaults(spec: Fields): void {
  if (spec["type"] === "ExternalName") return;
  if (spec["clusterIP"] && !spec["clusterIPs"]?.length) spec["clusterIPs"] = [spec["clusterIP"]];
  if (!spec["clusterIP"] && spec["clusterIPs"]?.length) spec["clusterIP"] = spec["clusterIPs"][0];
  const selectorless = spec["clusterIP"] === "None" && Object.keys(spec["selector"] ?? {}).length === 0;
  spec["ipFamilyPolicy"] ??= selectorless ? "RequireDualStack" : "SingleStack";
  if (!spec["ipFamilies"]?.length) {
    spec["ipFamilies"] =
      spec["ipFamilyPolicy"] === "RequireDualStack" && selectorless ? ["IPv4", "IPv6"] : ["IPv4"];
  }
}

/** An update that leaves out what the server had given out keeps it, so that a client may send what it wrote first. */
function patchAllocated(spec: Fields, old: Fields): void {
  const hadAddress = old["type"] !== "ExternalName";
  if (hadAddress && spec["type"] !== "ExternalName") {
    if (!spec["clusterIP"] && !spec["clusterIPs"]?.length) {
      spec["clusterIP"] = old["clusterIP"];
      spec["clusterIPs"] = old["clusterIPs"];
    }
    if (spec["clusterIP"] !== old["clusterIP"] && spec["clusterIPs"]?.[0] === old["clusterIPs"]?.[0]) {
      spec["clusterIPs"] = spec["clusterIP"] ? [spec["clusterIP"]] : undefined;
    }
  }
  if (usesNodePorts(old) && usesNodePorts(spec)) {
    const before = new Map(
      list(old["ports"]).map((port) => [`${port["protocol"]}/${port["port"]}`, port["nodePort"]]),
    );
    const taken = new Set(list(spec["ports"]).map((port) => port["nodePort"]));
    for (const port of list(spec["ports"])) {
      const kept = before.get(`${port["protocol"]}/${port["port"]}`);
      if (!port["nodePort"] && kept && !taken.has(kept)) port["nodePort"] = kept;
    }
  }
  if (usesNodePorts(old) && !usesNodePorts(spec)) {
    const before = new Set(list(old["ports"]).map((port) => port["nodePort"]));
    for (const port of list(spec["ports"])) if (before.has(port["nodePort"])) delete port["nodePort"];
  }
  if (
    spec["externalTrafficPolicy"] === "Local" &&
    spec["type"] === "LoadBalancer" &&
    !spec["healthCheckNodePort"]
  ) {
    spec["healthCheckNodePort"] = old["healthCheckNodePort"];
  }
}

export function usesNodePorts(spec: Fields): boolean {
  if (spec["type"] === "NodePort") return true;
  return spec["type"] === "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] !== false;
}

/** Fields that a Service of another type cannot have are dropped, as a change of type would else be refused. */
function dropTypeDependent(spec: Fields): void {
  if (spec["type"] === "ExternalName") {
    for (const field of [
      "clusterIP",
      "clusterIPs",
      "ipFamilies",
      "ipFamilyPolicy",
      "internalTrafficPolicy",
    ]) {
      delete spec[field];
    }
  }
  const external = spec["type"] === "NodePort" || spec["type"] === "LoadBalancer";
  if (!external && list(spec["externalIPs"]).length === 0 && !spec["externalIPs"]?.length) {
    delete spec["externalTrafficPolicy"];
  }
  if (spec["type"] !== "LoadBalancer") {
    delete spec["allocateLoadBalancerNodePorts"];
    delete spec["healthCheckNodePort"];
    delete spec["loadBalancerClass"];
  }
}

function externalOf(object: KubeObject): string {
  const spec: Fields = object["spec"] ?? {};
  const given: string[] = spec["externalIPs"] ?? [];
  switch (spec["type"]) {
    case "ExternalName":
      return orNone(spec["externalName"]);
    case "LoadBalancer": {
      const ingress: Fields[] = object["status"]?.loadBalancer?.ingress ?? [];
      const addresses = ingress.map((entry) => String(entry["ip"] || entry["hostname"]));
      const all = [...addresses, ...given];
      return all.length === 0 ? "<pending>" : all.join(",");
    }
    default:
      return given.length === 0 ? "<none>" : given.join(",");
  }
}

function portsOf(spec: Fields): string {
  const ports = list(spec["ports"]).map((port) => {
    const node = port["nodePort"] ? `:${port["nodePort"]}` : "";
    return `${port["port"]}${node}/${port["protocol"]}`;
  });
  return ports.length === 0 ? "<none>" : ports.join(",");
}
