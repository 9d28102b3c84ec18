import { expect, test } from "vitest";
import { openerFor } from "./browser.ts";

test.for<[string, NodeJS.Platform, NodeJS.ProcessEnv, string | undefined]>([
  ["a desktop", "linux", { DISPLAY: ":0" }, "xdg-open"],
  ["Wayland", "linux", { WAYLAND_DISPLAY: "wayland-0" }, "xdg-open"],
  ["a machine without a screen", "linux", {}, undefined],
  ["an SSH session", "linux", { SSH_CONNECTION: "a b" }, undefined],
  ["an SSH session with a forwarded display", "linux", { SSH_TTY: "/dev/pts/1", DISPLAY: ":10" }, "xdg-open"],
  ["WSL", "linux", { WSL_DISTRO_NAME: "Debian", DISPLAY: ":0" }, "explorer.exe"],
  ["WSL with a browser of one's own", "linux", { WSL_DISTRO_NAME: "Debian", BROWSER: "wslview" }, "xdg-open"],
  ["an SSH session into WSL", "linux", { WSL_DISTRO_NAME: "Debian", SSH_TTY: "/dev/pts/1" }, undefined],
  ["macOS", "darwin", {}, "open"],
  ["an SSH session on macOS", "darwin", { SSH_CONNECTION: "a b" }, undefined],
  ["an empty variable", "linux", { DISPLAY: "" }, undefined],
])("on %s", ([, platform, env, program]) => {
  expect(openerFor(platform, env)?.program).toBe(program);
});
