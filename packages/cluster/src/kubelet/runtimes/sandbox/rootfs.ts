/**
 * Lays out what a container's root file system is mounted from: a folder with mount tables in the format of fstab(5),
 * mount points to make, and a template of /dev, for the scripts to read.
 */
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, posix } from "node:path";
import type { Mount } from "../../runtime.ts";
import { ContainerStartError } from "../../runtime.ts";
import { toolsTarget } from "./scripts.ts";

export interface RootfsSpec {
  /** Unpacked image layers, the lowest first. */
  layers: string[];
  /** Receives what the container writes. */
  upperDir: string;
  /** Empty, on the same file system as `upperDir`. */
  workDir: string;
  mounts: Mount[];
  /** A folder for /dev/shm. */
  shm: string;
  /** The tools folder on the host. */
  tools: string;
  readOnly: boolean;
  privileged: boolean;
  /** The caller is root of a user namespace rather than of the machine. */
  rootless: boolean;
  /** Shows the machine's own /sys; needed where the network namespace belongs to somebody else. */
  hostSys: boolean;
}

const devices = ["null", "zero", "full", "random", "urandom", "tty"];
/** What runc hides of /proc and /sys, and what it makes read-only. */
const masked = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"];
const maskedToo = [
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const readOnlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Writes the tables into an empty folder. Throws `ContainerStartError` for a mount that cannot be made. */
export function layOutRootfs(folder: string, spec: RootfsSpec): void {
  const root = join(folder, "root");
  mkdirSync(root);
  layOutDevices(join(folder, "dev"), spec.rootless);

  // The mount options of an overlay must fit into one page: short relative links instead of long paths.
  const lower = [...spec.layers].reverse();
  if (lower.length === 0) lower.push(join(folder, "empty"));
  mkdirSync(join(folder, "empty"));
  for (const [index, layer] of lower.entries()) symlinkSync(layer, join(folder, String(index)));
  symlinkSync(spec.upperDir, join(folder, "u"));
  symlinkSync(spec.workDir, join(folder, "w"));
  // A folder in the upper layer hides a symbolic link of that name in an image, which a mount would follow.
  for (const name of ["dev", "proc", "sys"]) ensureFolder(join(spec.upperDir, name));

  const overlay = ["lowerdir=" + lower.map((_, index) => index).join(":"), "upperdir=u", "workdir=w"];
  if (spec.rootless) overlay.push("userxattr");
  const guarded = "nosuid,nodev,noexec";
  const sysMode = spec.privileged ? "rw" : "ro";
  writeTable(join(folder, "fstab.root"), [
    ["overlay", root, "overlay", overlay.join(",")],
    ["tmpfs", `${root}/dev`, "tmpfs", "nosuid,mode=755,size=65536k"],
    [spec.tools, `${root}${toolsTarget}`, "none", `bind,ro,X-mount.mkdir${inherited(spec, spec.tools)}`],
    ["proc", `${root}/proc`, "proc", guarded],
    spec.hostSys
      ? ["/sys", `${root}/sys`, "none", `rbind,${sysMode}${inherited(spec, "/sys")}`]
      : ["sysfs", `${root}/sys`, "sysfs", `${sysMode},${guarded}`],
  ]);
  if (spec.readOnly) writeFileSync(join(folder, "readonly"), "");
}

/** Writes the tables of what is mounted from within the new root; `old` is the name of the old root under /dev. */
export function layOutMounts(folder: string, old: string, spec: RootfsSpec): void {
  const from = (path: string) => `/dev/${old}${path}`;
  const first: MountPoint[] = [];
  if (spec.rootless) {
    for (const name of devices)
      first.push({ kind: "file", row: [from(`/dev/${name}`), `/dev/${name}`, "none", "bind"] });
  }
  const ptyGroup = spec.rootless ? "" : ",gid=5";
  first.push(
    {
      kind: "dir",
      row: ["devpts", "/dev/pts", "devpts", `newinstance,ptmxmode=0666,mode=0620${ptyGroup},nosuid,noexec`],
    },
    { kind: "dir", row: ["mqueue", "/dev/mqueue", "mqueue", "nosuid,nodev,noexec"] },
    { kind: "dir", row: [from(spec.shm), "/dev/shm", "none", "rbind"] },
  );
  const batches: MountPoint[][] = [first];
  const seen: string[] = [];
  for (const mount of spec.mounts) {
    const point = mountPoint(mount, from, spec);
    const target = point.row[1];
    // Below another mount the mount point can be made only once that one is there.
    if (seen.some((other) => target.startsWith(other === "/" ? "/" : `${other}/`))) batches.push([]);
    seen.push(target);
    batches.at(-1)?.push(point);
  }
  if (!spec.privileged) batches.push(protections());
  for (const [index, batch] of batches.entries()) {
    writeTable(
      join(folder, `fstab.${index}`),
      batch.map(({ row }) => row),
    );
    const points = batch
      .filter(({ kind }) => kind !== "there")
      .map(({ kind, row }) => `${kind}\n${escapeLine(row[1])}\n`);
    writeFileSync(join(folder, `points.${index}`), points.join(""));
  }
}

type Row = [source: string, target: string, type: string, options: string];
interface MountPoint {
  kind: "dir" | "file" | "there";
  row: Row;
}

function mountPoint(mount: Mount, from: (path: string) => string, spec: RootfsSpec): MountPoint {
  const target = posix.resolve("/", mount.target);
  if (target === "/") throw new ContainerStartError("CreateContainerError", `cannot mount over "/"`);
  if (mount.type === "tmpfs") {
    const size = mount.sizeBytes ? `,size=${mount.sizeBytes}` : "";
    return { kind: "dir", row: ["tmpfs", target, "tmpfs", `nosuid,nodev,mode=1777${size}`] };
  }
  let source: string;
  let isFolder: boolean;
  try {
    source = realpathSync(mount.source);
    isFolder = statSync(source).isDirectory();
  } catch (error) {
    throw new ContainerStartError(
      "CreateContainerError",
      `cannot mount ${JSON.stringify(mount.source)} at ${JSON.stringify(mount.target)}: no such file or directory`,
      { cause: error },
    );
  }
  const options = mount.readOnly ? `rbind,ro${inherited(spec, source)}` : "rbind";
  return { kind: isFolder ? "dir" : "file", row: [from(source), target, "none", options] };
}

function protections(): MountPoint[] {
  const points: MountPoint[] = [];
  const kindOf = (path: string) => lstatSync(path, { throwIfNoEntry: false });
  for (const path of [...masked, ...maskedToo]) {
    const stat = kindOf(path);
    if (!stat) continue;
    const row: Row = stat.isDirectory()
      ? ["tmpfs", path, "tmpfs", "ro,nosuid,nodev,noexec,size=0k"]
      : ["/dev/null", path, "none", "bind"];
    points.push({ kind: "there", row });
  }
  for (const path of readOnlyPaths) {
    if (kindOf(path))
      points.push({ kind: "there", row: [path, path, "none", "rbind,ro,nosuid,nodev,noexec"] });
  }
  return points;
}

function layOutDevices(folder: string, rootless: boolean): void {
  mkdirSync(folder);
  for (const name of ["pts", "shm", "mqueue"]) mkdirSync(join(folder, name));
  const links = {
    fd: "/proc/self/fd",
    stdin: "fd/0",
    stdout: "fd/1",
    stderr: "fd/2",
    ptmx: "pts/ptmx",
    core: "/proc/kcore",
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(folder, name));
  if (rootless) for (const name of devices) writeFileSync(join(folder, name), "");
}

function ensureFolder(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) mkdirSync(path, { mode: 0o755 });
}

/**
 * In a user namespace a read-only remount must repeat the flags that the machine's owner put on the source, or the kernel
 * refuses it (mount_namespaces(7), "locked").
 */
function inherited(spec: RootfsSpec, source: string): string {
  if (!spec.rootless) return "";
  let best = { target: "", flags: "" };
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [, , , , target = "", flags = ""] = line.split(" ");
    const plain = target.replaceAll(/\\(\d{3})/g, (_, code: string) =>
      String.fromCharCode(Number.parseInt(code, 8)),
    );
    const holds = source === plain || source.startsWith(plain === "/" ? "/" : `${plain}/`);
    if (plain && holds && plain.length >= best.target.length) best = { target: plain, flags };
  }
  const kept = best.flags
    .split(",")
    .filter((flag) => ["nosuid", "nodev", "noexec", "noatime", "nodiratime"].includes(flag));
  return kept.map((flag) => `,${flag}`).join("");
}

function writeTable(path: string, rows: Row[]): void {
  const field = (text: string) =>
    text.replaceAll(/[\s\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);
  writeFileSync(path, rows.map((row) => `${row.map(field).join(" ")} 0 0\n`).join(""));
}

/** One line that `printf %b` turns back into the text. */
export function escapeLine(text: string): string {
  return text.replaceAll("\\", String.raw`\0134`).replaceAll("\n", String.raw`\0012`);
}
