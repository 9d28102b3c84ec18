/** What the runtime is told of a pod before its containers: names, DNS, namespaces. */
import { addresses } from "../network/state.ts";
import type { Pod } from "./pod.ts";
import type { PodSandboxSpec } from "./runtime.ts";

/** As a kubelet's `podPidsLimit`: more than any program needs, and far less than the kernel has by default (32,768). */
const processLimit = 8192;

export function sandboxSpec(pod: Pod): PodSandboxSpec {
  const { spec, metadata } = pod;
  const { name, namespace = "", uid = "" } = metadata;
  const short = (spec.hostname || name).slice(0, 63).replace(/[-.]+$/, "");
  const fqdn = spec.subdomain
    ? `${short}.${spec.subdomain}.${namespace}.svc.${addresses.clusterDomain}`
    : undefined;
  return {
    id: uid,
    name,
    namespace,
    hostname: spec.setHostnameAsFQDN && fqdn ? fqdn : short,
    ...(fqdn === undefined ? {} : { fqdn }),
    dns: dnsOf(pod),
    hostAliases: (spec.hostAliases ?? []).map(({ ip, hostnames = [] }) => ({ ip, hostnames })),
    hostNetwork: spec.hostNetwork === true,
    shareProcessNamespace: spec.shareProcessNamespace === true,
    processLimit,
    sysctls: Object.fromEntries(
      (spec.securityContext?.sysctls ?? []).map(({ name, value }) => [name, value]),
    ),
  };
}

/** https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy */
function dnsOf({ spec, metadata }: Pod): PodSandboxSpec["dns"] {
  const { dnsConfig = {}, hostNetwork, dnsPolicy = "ClusterFirst" } = spec;
  const domain = addresses.clusterDomain;
  const cluster = dnsPolicy === "ClusterFirstWithHostNet" || (dnsPolicy === "ClusterFirst" && !hostNetwork);
  const searches = cluster ? [`${metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain] : [];
  // The node's own resolver is the cluster's, which asks the host for all other names.
  const nameservers = dnsPolicy === "None" ? [] : [addresses.dns];
  const options = new Map<string, string | undefined>(cluster ? [["ndots", "5"]] : []);
  for (const { name, value } of dnsConfig.options ?? []) options.set(name, value);
  return {
    nameservers: [...new Set([...nameservers, ...(dnsConfig.nameservers ?? [])])],
    searches: [...new Set([...searches, ...(dnsConfig.searches ?? [])])],
    options: [...options].map(([name, value]) => (value ? `${name}:${value}` : name)),
  };
}
