/** Opening a page for the person at this terminal. */
import { UserError } from "@kws/base/errors";
import { exec } from "@kws/base/exec";
import type { Context } from "./context.ts";

export interface Opener {
  program: string;
  /** Its exit code says nothing. */
  careless?: true;
}

/** Which program does it; none where a window would open for nobody. `platform` is Node's, `env` the caller's. */
export function openerFor(platform: NodeJS.Platform, env: NodeJS.ProcessEnv): Opener | undefined {
  const set = (...names: string[]) => names.some((name) => (env[name] ?? "") !== "");
  // A browser of one's own choice, which xdg-open takes too: https://www.freedesktop.org/wiki/Software/xdg-utils/.
  if (platform === "linux" && set("BROWSER")) return { program: "xdg-open" };
  const remote = set("SSH_CONNECTION", "SSH_TTY");
  if (platform === "darwin") return remote ? undefined : { program: "open" };
  // Under WSL the browser is that of Windows; Explorer hands pages on, and always exits with 1.
  if (set("WSL_DISTRO_NAME")) return remote ? undefined : { program: "explorer.exe", careless: true };
  // With a display that is forwarded over SSH there is a window.
  return set("DISPLAY", "WAYLAND_DISPLAY") ? { program: "xdg-open" } : undefined;
}

/** Says so where no browser can be started. */
export async function openBrowser(ctx: Context, address: string): Promise<void> {
  const opener = openerFor(process.platform, ctx.env);
  const failed = "No browser could be started; open it yourself:\n";
  const missing = "There is no browser here; open it yourself:\n";
  const opened =
    opener !== undefined &&
    (await exec(opener.program, [address], { env: ctx.childEnv, timeoutMs: 10_000 }).then(
      ({ exitCode }) => opener.careless === true || exitCode === 0,
      (error: unknown) => {
        if (error instanceof UserError) return false;
        throw error;
      },
    ));
  if (!opened && !ctx.quiet) ctx.stderr.write(opener === undefined ? missing : failed);
}
