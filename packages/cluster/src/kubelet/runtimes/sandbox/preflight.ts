/** Says what a machine lacks to run containers, before or after it has shown by failing. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { UserError } from "@kws/base/errors";
import { findProgram, requirePrograms, systemPath } from "./tools.ts";

const run = promisify(execFile);

/** Undefined where sandboxed containers can run; otherwise the first thing that is missing and how to get it. */
export async function preflight(): Promise<UserError | undefined> {
  if (process.platform !== "linux") {
    return new UserError("the runtime sandbox runs containers on Linux only", {
      code: "tool-missing",
      fix: "use the runtime docker: `kws cluster start --runtime docker`",
    });
  }
  try {
    await requirePrograms();
    await requirePrograms(["ip", "mkfifo", "stty"]);
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  const rootless = process.getuid?.() !== 0;
  const user = rootless ? ["--user", "--map-root-user"] : [];
  const namespaces = [...user, "--net", "--mount", "--ipc", "--uts", "--pid", "--fork", "--mount-proc"];
  const failed = await attempt("unshare", [...namespaces, "true"]);
  if (failed !== undefined)
    return new UserError(
      `cannot make the namespaces that containers need: ${failed}`,
      await advice(rootless),
    );

  const filesystems = await readFile("/proc/filesystems", "utf8");
  if (!/\boverlay$/m.test(filesystems) && !(await findModule())) {
    return new UserError("this kernel has no overlay file system", {
      code: "tool-missing",
      fix: "load it with: modprobe overlay",
    });
  }
  const bridge = await attempt("unshare", [...namespaces, "ip", "link", "add", "kws0", "type", "bridge"]);
  if (bridge !== undefined) {
    return new UserError(`this kernel cannot make a network bridge: ${bridge}`, {
      code: "tool-missing",
      fix: "load it with: modprobe bridge veth",
    });
  }
  return undefined;
}

async function advice(rootless: boolean): Promise<{ code: "permission"; fix: string }> {
  const sysctl = async (name: string) => {
    const text = await readFile(`/proc/sys/${name.replaceAll(".", "/")}`, "utf8").catch(() => "");
    return text.trim();
  };
  const code = "permission";
  if (!rootless) return { code, fix: "run outside of a container, or in one with the capability SYS_ADMIN" };
  if ((await sysctl("kernel.unprivileged_userns_clone")) === "0") {
    return { code, fix: "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, or run as root" };
  }
  if ((await sysctl("kernel.apparmor_restrict_unprivileged_userns")) === "1") {
    return {
      code,
      fix: "allow user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
    };
  }
  if ((await sysctl("user.max_user_namespaces")) === "0") {
    return { code, fix: "allow user namespaces: sysctl user.max_user_namespaces=15000, or run as root" };
  }
  return { code, fix: "allow user namespaces for ordinary users, or run as root" };
}

/** The kernel loads the module at the first mount where it is installed. */
async function findModule(): Promise<boolean> {
  if (!(await findProgram("modprobe"))) return false;
  return (await attempt("modprobe", ["--dry-run", "overlay"])) === undefined;
}

/** What the program said on failing, or undefined where it succeeded. */
async function attempt(program: string, args: string[]): Promise<string | undefined> {
  try {
    await run(program, args, { env: { PATH: systemPath, LC_ALL: "C" }, timeout: 10_000 });
    return undefined;
  } catch (error) {
    const said = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
    return said || String(error);
  }
}
