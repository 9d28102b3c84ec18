/** Which program opens a page for the person at this terminal; none where a window would open for nobody. */

export interface Opener {
  program: string;
  /** Its exit code says nothing. */
  careless?: true;
}

/** `platform` is Node's, `env` the caller's. */
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
