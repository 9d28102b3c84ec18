/** What the tests of runtimes share: a small image made from the machine's own programs, and specs to change. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { ContainerSpec, PodSandboxSpec } from "../runtime.ts";
import { findProgram, systemPath } from "../runtimes/sandbox/tools.ts";

const programs = [
  "sh",
  "ls",
  "cat",
  "id",
  "mount",
  "mkdir",
  "sleep",
  "tty",
  "stty",
  "dd",
  "chroot",
  "ln",
  "mv",
  "rm",
  "touch",
];

export interface Fixture {
  folder: string;
  layer: string;
  /** The image's digest, for a runtime that unpacks images itself. */
  image: string;
  /** Every option of a container that matters to no test, filled in. */
  container(id: string, sandboxId: string, argv: string[], changes?: Partial<ContainerSpec>): ContainerSpec;
  pod(id: string, changes?: Partial<PodSandboxSpec>): PodSandboxSpec;
}

/** The caller removes `folder`. */
export async function makeFixture(owner?: { uid: number; gid: number }): Promise<Fixture> {
  const folder = mkdtempSync(join(tmpdir(), "kws-sandbox-"));
  chmodSync(folder, 0o755);
  if (owner) chownSync(folder, owner.uid, owner.gid);
  const layer = join(folder, "layer");
  for (const name of ["bin", "etc", "tmp"]) mkdirSync(join(layer, name), { recursive: true });
  const paths = (await Promise.all(programs.map(findProgram))).filter((path) => path !== undefined);
  const listing = execFileSync("ldd", [...paths, process.execPath], { env: { PATH: systemPath } }).toString();
  const libraries = [...listing.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path);
  for (const path of paths) copyFileSync(path, join(layer, "bin", basename(path)));
  for (const path of new Set(libraries)) {
    if (existsSync(join(layer, path))) continue;
    mkdirSync(join(layer, dirname(path)), { recursive: true });
    copyFileSync(path, join(layer, path));
  }
  // Without it libc's resolver asks no DNS.
  writeFileSync(join(layer, "etc", "nsswitch.conf"), "hosts: files dns\n");
  // In a user namespace, files of users that are not mapped could not even be copied up.
  if (owner) execFileSync("chown", ["-R", `${owner.uid}:${owner.gid}`, layer]);
  const fixture: Fixture = {
    folder,
    layer,
    image: "",
    container: (id, sandboxId, argv, changes) => ({
      id,
      sandboxId,
      name: id,
      attempt: 0,
      image: fixture.image,
      layers: [layer],
      argv,
      env: {},
      cwd: "/",
      user: { uid: 0, gid: 0, additionalGids: [] },
      mounts: [],
      readOnlyRootFilesystem: false,
      privileged: false,
      allowPrivilegeEscalation: true,
      capabilities: { add: [], drop: [] },
      limits: {},
      stdin: false,
      tty: false,
      logPath: join(folder, "logs", `${id}.log`),
      terminationMessagePath: join(folder, "messages", id),
      terminationMessageTarget: "/dev/termination-log",
      annotations: {},
      ...changes,
    }),
    pod: (id, changes) => ({
      id,
      name: id,
      namespace: "default",
      hostname: id,
      dns: { nameservers: ["10.96.0.10"], searches: ["default.svc.cluster.local"], options: ["ndots:5"] },
      hostAliases: [],
      hostNetwork: false,
      shareProcessNamespace: false,
      processLimit: 1000,
      sysctls: {},
      ...changes,
    }),
  };
  return fixture;
}
