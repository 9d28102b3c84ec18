/** What all containers of a pod share, whichever runtime makes them: the files of names, and the first process of a PID namespace. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ContainerSpec, Mount, PodSandboxSpec } from "../runtime.ts";

const podFiles = ["hosts", "resolv.conf", "hostname"];

/** For a shell: keeps a PID namespace and reaps its orphans. */
export const pauseScript = "trap : TERM INT; while :; do sleep 2147483647 & wait; done";

/** Writes them into the folder, in the form in which the kubelet does. */
export function writePodFiles(folder: string, spec: PodSandboxSpec, address: string): void {
  const hosts = [
    "# Kubernetes-managed hosts file.",
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
    `${address}\t${spec.hostname}`,
  ];
  if (spec.hostAliases.length > 0) {
    hosts.push("", "# Entries added by HostAliases.");
    for (const { ip, hostnames } of spec.hostAliases) hosts.push(`${ip}\t${hostnames.join("\t")}`);
  }
  writeFileSync(join(folder, "hosts"), `${hosts.join("\n")}\n`);
  const { nameservers, searches, options } = spec.dns;
  const resolv = [
    ...(searches.length > 0 ? [`search ${searches.join(" ")}`] : []),
    ...nameservers.map((server) => `nameserver ${server}`),
    ...(options.length > 0 ? [`options ${options.join(" ")}`] : []),
  ];
  writeFileSync(join(folder, "resolv.conf"), resolv.map((line) => `${line}\n`).join(""));
  writeFileSync(join(folder, "hostname"), `${spec.hostname}\n`);
  for (const name of podFiles) chmodSync(join(folder, name), 0o644);
}

/** All that is mounted in a container of the pod whose files are in `folder`, in the order of mounting. */
export function containerMounts(spec: ContainerSpec, folder: string): Mount[] {
  const given = new Set(spec.mounts.map(({ target }) => target));
  const own = podFiles
    .map((name): Mount => ({
      type: "bind",
      source: join(folder, name),
      target: `/etc/${name}`,
      readOnly: spec.readOnlyRootFilesystem,
    }))
    .filter(({ target }) => !given.has(target));
  const message: Mount = {
    type: "bind",
    source: spec.terminationMessagePath,
    target: spec.terminationMessageTarget,
    readOnly: false,
  };
  return [...own, ...spec.mounts, message];
}
