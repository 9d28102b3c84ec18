/** On a real terminal: tmux shows what is on the screen, and types. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const module = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);

/** Draws its size and what was typed; `x` crashes it, `q` ends it, Ctrl-Z suspends it. */
const program = `
import { openScreen } from ${module("./screen.ts")};
let typed = "";
const draw = () => {
  const { columns, rows } = screen.size();
  screen.draw([\`\${columns}x\${rows}\`, "typed " + typed, "日本 wide"]);
};
const screen = openScreen(process.stdin, process.stdout, {
  onResize: draw,
  onKey(key) {
    if (key.name === "x") throw new Error("crashed");
    if (key.name === "q") { screen[Symbol.dispose](); console.log("ended"); return; }
    if (key.ctrl) { screen.suspend("suspended"); return; }
    typed += key.name;
    draw();
  },
});
draw();
`;

let folder: string;
const tmux = async (...args: string[]) =>
  (await run("tmux", ["-u", "-S", join(folder, "socket"), "-f", "/dev/null", ...args])).stdout;
const type = (...keys: string[]) => tmux("send-keys", "-t", "t", ...keys);
/** The screen when it fits. */
const shows = async (pattern: RegExp): Promise<string> => {
  for (;;) {
    const screen = await tmux("capture-pane", "-p", "-t", "t");
    if (pattern.test(screen)) return screen;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
};
const start = () => type(`'${process.execPath}' screen.mjs`, "Enter");

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kws-screen-"));
  await writeFile(join(folder, "screen.mjs"), program);
  const shell = "bash --noprofile --norc -i";
  await tmux("new-session", "-d", "-s", "t", "-x", "60", "-y", "10", "-c", folder, shell);
  await type("PS1='prompt-$? '; clear; echo before", "Enter");
  await shows(/^before$/m);
});
afterAll(async () => {
  await tmux("kill-server");
  await rm(folder, { recursive: true, force: true });
});

test("the screen follows the terminal's size, and what was there before comes back with the end", async () => {
  await start();
  await shows(/^60x10\ntyped\s*\n日本 wide/);
  await tmux("resize-window", "-t", "t", "-x", "40", "-y", "8");
  await shows(/^40x8\n/);
  await type("a", "Up");
  await shows(/^typed aup$/m);
  await type("q");
  expect(await shows(/ended\nprompt-0/)).not.toContain("typed aup");
});

test("what was there before comes back after a crash", async () => {
  await start();
  await shows(/^40x8\n/);
  await type("x");
  await shows(/^prompt-1/m);
  await type("clear; stty -a | grep -o -- '[-]*icanon'", "Enter");
  expect(await shows(/^-?icanon$/m)).toMatch(/^icanon$/m);
});

test("Ctrl-Z gives the terminal to the shell, and fg takes it again", async () => {
  await type("clear", "Enter");
  await start();
  await shows(/^40x8\n/);
  await type("C-z");
  await shows(/^suspended\n[^]*Stopped/m);
  await type("fg", "Enter");
  await shows(/^40x8\n/);
  await type("b");
  expect(await shows(/^typed b$/m)).toMatch(/^40x8\n/);
  await type("q");
  expect(await shows(/ended/)).toContain("Stopped");
});
