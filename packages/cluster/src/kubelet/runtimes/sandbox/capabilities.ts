/** Which Linux capabilities a container's processes may have, in the names that setpriv takes. */

/**
 * The set that containerd gives a container unless told otherwise, without MKNOD: containerd's control groups keep a
 * container from the disks behind device nodes that it makes, and here there may be none that do.
 */
const defaults = [
  "AUDIT_WRITE",
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "NET_BIND_SERVICE",
  "NET_RAW",
  "SETFCAP",
  "SETGID",
  "SETPCAP",
  "SETUID",
  "SYS_CHROOT",
];

/** Every name of capabilities(7), in the kernel's order. */
export const all = [
  "CHOWN",
  "DAC_OVERRIDE",
  "DAC_READ_SEARCH",
  "FOWNER",
  "FSETID",
  "KILL",
  "SETGID",
  "SETUID",
  "SETPCAP",
  "LINUX_IMMUTABLE",
  "NET_BIND_SERVICE",
  "NET_BROADCAST",
  "NET_ADMIN",
  "NET_RAW",
  "IPC_LOCK",
  "IPC_OWNER",
  "SYS_MODULE",
  "SYS_RAWIO",
  "SYS_CHROOT",
  "SYS_PTRACE",
  "SYS_PACCT",
  "SYS_ADMIN",
  "SYS_BOOT",
  "SYS_NICE",
  "SYS_RESOURCE",
  "SYS_TIME",
  "SYS_TTY_CONFIG",
  "MKNOD",
  "LEASE",
  "AUDIT_WRITE",
  "AUDIT_CONTROL",
  "SETFCAP",
  "MAC_OVERRIDE",
  "MAC_ADMIN",
  "SYSLOG",
  "WAKE_ALARM",
  "BLOCK_SUSPEND",
  "AUDIT_READ",
  "PERFMON",
  "BPF",
  "CHECKPOINT_RESTORE",
];

export interface Capabilities {
  add: string[];
  drop: string[];
}

/** What a container that is not privileged has. Dropping goes before adding, as in the kubelet. */
export function grantedCapabilities({ add, drop }: Capabilities): string[] {
  const names = (list: string[]) => new Set(list.map((name) => name.toUpperCase().replace(/^CAP_/, "")));
  const [added, dropped] = [names(add), names(drop)];
  const base = added.has("ALL") ? all : dropped.has("ALL") ? [] : defaults;
  const wanted = new Set([...base.filter((name) => !dropped.has(name)), ...added]);
  return all.filter((name) => wanted.has(name));
}

/**
 * The value of setpriv's `--bounding-set`. `available` is the set that
 * the caller itself has, since adding more than that is an error.
 */
export function boundingSet(
  { add, drop }: Capabilities,
  privileged: boolean,
  available: ReadonlySet<string>,
): string {
  const wanted = new Set(privileged ? all : grantedCapabilities({ add, drop }));
  const given = all.filter((name) => wanted.has(name) && available.has(name));
  return ["-all", ...given.map((name) => `+${name.toLowerCase()}`)].join(",");
}

/** The names in a mask as /proc/<pid>/status shows it. */
export function fromMask(mask: string): Set<string> {
  const bits = BigInt(`0x${mask}`);
  return new Set(all.filter((_, index) => ((bits >> BigInt(index)) & 1n) === 1n));
}
