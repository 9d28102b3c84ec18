/**
 * What the documentation calls the defaults of a pod's spec, for pods themselves and for every template that holds one.
 * Follows upstream's pkg/apis/core/v1/defaults.go.
 */
import { canonicalQuantity } from "@kws/kube/quantity";
import { list } from "./loose.ts";
import type { Fields } from "./resource.ts";

export function setPodTemplateDefaults(template: Fields | undefined | null): void {
  if (template === undefined || template === null) return;
  template["metadata"] ??= {};
  template["spec"] ??= {};
  setPodSpecDefaults(template["spec"]);
}

export function setPodSpecDefaults(spec: Fields): void {
  spec["dnsPolicy"] ||= "ClusterFirst";
  spec["restartPolicy"] ||= "Always";
  spec["terminationGracePeriodSeconds"] ??= 30;
  spec["securityContext"] ??= {};
  spec["schedulerName"] ||= "default-scheduler";
  syncServiceAccount(spec);
  for (const volume of list(spec["volumes"])) setVolumeDefaults(volume);
  for (const field of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const container of list(spec[field])) setContainerDefaults(container);
  }
  canonicalizeList(spec["overhead"]);
  canonicalizeResources(spec["resources"]);
}

/** Defaults that stand on pods alone, not on templates. */
export function setPodOnlyDefaults(spec: Fields): void {
  spec["enableServiceLinks"] ??= true;
  for (const container of [...list(spec["initContainers"]), ...list(spec["containers"])]) {
    for (const port of list(container["ports"])) {
      if (spec["hostNetwork"] === true && !port["hostPort"]) port["hostPort"] = port["containerPort"];
    }
    const limits = container["resources"]?.limits;
    if (limits === undefined || limits === null) continue;
    container["resources"].requests ??= {};
    for (const [name, value] of Object.entries(limits)) container["resources"].requests[name] ??= value;
  }
}

/** `serviceAccount` is the deprecated name of `serviceAccountName`; both are always served. */
function syncServiceAccount(spec: Fields): void {
  const name = spec["serviceAccountName"] || spec["serviceAccount"];
  if (!name) return;
  spec["serviceAccountName"] = name;
  spec["serviceAccount"] = name;
}

function setContainerDefaults(container: Fields): void {
  container["imagePullPolicy"] ||= pullPolicyOf(container["image"]);
  container["terminationMessagePath"] ||= "/dev/termination-log";
  container["terminationMessagePolicy"] ||= "File";
  container["resources"] ??= {};
  canonicalizeResources(container["resources"]);
  for (const port of list(container["ports"])) {
    port["protocol"] ||= "TCP";
  }
  for (const variable of list(container["env"])) {
    const fieldRef = variable["valueFrom"]?.fieldRef;
    if (fieldRef) fieldRef.apiVersion ||= "v1";
    const resourceRef = variable["valueFrom"]?.resourceFieldRef;
    if (resourceRef) resourceRef.divisor ??= "0";
    const fileRef = variable["valueFrom"]?.fileKeyRef;
    if (fileRef) fileRef.optional ??= false;
  }
  for (const field of ["livenessProbe", "readinessProbe", "startupProbe"]) setProbeDefaults(container[field]);
  for (const hook of ["postStart", "preStop"]) setHttpGetDefaults(container["lifecycle"]?.[hook]?.httpGet);
}

/** `Always` for `latest` and for no tag; a digest or another tag need not be asked for again. */
export function pullPolicyOf(image: unknown): "Always" | "IfNotPresent" {
  const text = typeof image === "string" ? image : "";
  const last = text.slice(text.lastIndexOf("/") + 1);
  if (last.includes("@")) return "IfNotPresent";
  const colon = last.indexOf(":");
  return colon < 0 || last.slice(colon + 1) === "latest" ? "Always" : "IfNotPresent";
}

/** Requests and limits of any resource list pair in canonical form. */
export function canonicalizeResources(resources: Fields | undefined | null): void {
  for (const field of ["limits", "requests"]) canonicalizeList(resources?.[field]);
}

export function canonicalizeList(quantities: Fields | undefined | null): void {
  for (const [name, value] of Object.entries(quantities ?? {})) {
    if (quantities && (typeof value === "string" || typeof value === "number")) {
      quantities[name] = canonicalQuantity(value);
    }
  }
}

function setProbeDefaults(probe: Fields | undefined | null): void {
  if (!probe) return;
  probe["timeoutSeconds"] ||= 1;
  probe["periodSeconds"] ||= 10;
  probe["successThreshold"] ||= 1;
  probe["failureThreshold"] ||= 3;
  setHttpGetDefaults(probe["httpGet"]);
  if (probe["grpc"]) probe["grpc"].service ??= "";
}

function setHttpGetDefaults(action: Fields | undefined | null): void {
  if (!action) return;
  action["path"] ||= "/";
  action["scheme"] ||= "HTTP";
}

const fileMode = 0o644;

function setVolumeDefaults(volume: Fields): void {
  const sources = Object.keys(volume).filter((key) => key !== "name" && volume[key] !== null);
  if (sources.length === 0) volume["emptyDir"] = {};
  if (volume["emptyDir"]?.sizeLimit !== undefined && volume["emptyDir"].sizeLimit !== null) {
    volume["emptyDir"].sizeLimit = canonicalQuantity(volume["emptyDir"].sizeLimit);
  }
  for (const source of ["secret", "configMap", "downwardAPI", "projected"]) {
    if (volume[source]) volume[source].defaultMode ??= fileMode;
  }
  if (volume["hostPath"]) volume["hostPath"].type ??= "";
  for (const item of list(volume["downwardAPI"]?.items)) setDownwardDefaults(item);
  for (const source of list(volume["projected"]?.sources)) {
    if (source["serviceAccountToken"]) source["serviceAccountToken"].expirationSeconds ??= 3600;
    for (const item of list(source["downwardAPI"]?.items)) setDownwardDefaults(item);
  }
  if (volume["iscsi"]) volume["iscsi"].iscsiInterface ||= "default";
  if (volume["azureDisk"]) {
    volume["azureDisk"].cachingMode ??= "ReadWrite";
    volume["azureDisk"].kind ??= "Shared";
    volume["azureDisk"].fsType ??= "ext4";
    volume["azureDisk"].readOnly ??= false;
  }
  if (volume["rbd"]) {
    volume["rbd"].pool ||= "rbd";
    volume["rbd"].user ||= "admin";
    volume["rbd"].keyring ||= "/etc/ceph/keyring";
  }
  if (volume["image"]) volume["image"].pullPolicy ||= pullPolicyOf(volume["image"].reference);
  if (volume["ephemeral"]?.volumeClaimTemplate) {
    const template = volume["ephemeral"].volumeClaimTemplate;
    setClaimSpecDefaults(template.spec);
  }
}

function setDownwardDefaults(item: Fields): void {
  if (item["fieldRef"]) item["fieldRef"].apiVersion ||= "v1";
  if (item["resourceFieldRef"]) item["resourceFieldRef"].divisor ??= "0";
}

/** Of PersistentVolumeClaims and of the templates that make them. */
export function setClaimSpecDefaults(spec: Fields | undefined | null): void {
  if (!spec) return;
  spec["volumeMode"] ??= "Filesystem";
  spec["resources"] ??= {};
  canonicalizeResources(spec["resources"]);
}
