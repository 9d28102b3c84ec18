/**
 * Every command that the guide shows with a `$` works, for a person with an empty home. A page is one shell session that
 * begins at the top of the repository, and leaves no cluster and nothing in the home but caches.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inherited, repository } from "./kws.ts";

const guide = join(repository, "docs/guide");
/** The page that tells how to put kws on the PATH has to do without it. */
const first = "getting-started.md";
const pages = (await readdir(guide)).filter((page) => page.endsWith(".md"));
const commands = new Map(
  await Promise.all(
    pages.map(
      async (page) =>
        [page, commandsOf(await readFile(join(guide, page), "utf8"))] satisfies [string, string[]],
    ),
  ),
);

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "kws-guide-"));
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** The names of the clusters that a page left; they are removed, so that the next page is not in their way. */
async function removeLeft(): Promise<string[]> {
  const { output } = await session(["kws cluster list -o json"]);
  const names = (JSON.parse(output.slice(output.indexOf("\n"))) as { name: string }[]).map(
    ({ name }) => name,
  );
  for (const name of names) await session([`kws cluster reset ${name} --yes`]);
  return names;
}

/** All but caches: the next page begins with an empty home, whatever this one left. */
async function emptyHome(): Promise<void> {
  const data = join(home, ".local/share/kws");
  const kept = [join(home, ".cache"), join(home, ".npm"), join(data, "images")];
  for (const folder of [home, data]) {
    for (const name of await readdir(folder).catch(() => [])) {
      const path = join(folder, name);
      if (!kept.some((one) => one === path || one.startsWith(`${path}/`)))
        await rm(path, { recursive: true, force: true });
    }
  }
}

/** The lines that begin with `$` in blocks of the language console. */
function commandsOf(page: string): string[] {
  const blocks = [...page.matchAll(/^```console\n(.*?)^```/gms)].map((match) => match[1] ?? "");
  return blocks
    .flatMap((block) => block.split("\n").filter((line) => line.startsWith("$ ")))
    .map((line) => line.slice(2));
}

/** Runs the commands in one shell, which ends at the first that fails; the output shows each before what it prints. */
function session(lines: string[], onPath = true): Promise<{ code: number | null; output: string }> {
  const bin = join(repository, "node_modules/.bin");
  const path = process.env["PATH"] ?? "";
  const others = path.split(delimiter).filter((dir) => dir !== bin);
  const env = {
    ...inherited,
    HOME: home,
    TERM: "dumb",
    PATH: (onPath ? [bin, ...others] : others).join(delimiter),
  };
  const script = lines.map((line) => `printf '%s\\n' ${quoted(`$ ${line}`)}\n${line}\n`).join("");
  return new Promise((resolve, reject) => {
    const child = spawn("bash", ["-e", "-o", "pipefail", "-c", script], {
      cwd: repository,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

test.each(pages.filter((page) => (commands.get(page) ?? []).length > 0))(
  "docs/guide/%s: its commands work, and leave nothing behind",
  async (page) => {
    const { code, output } = await session(commands.get(page) ?? [], page !== first);
    const left = await removeLeft();
    const kept = (await readdir(home)).filter((name) => !name.startsWith("."));
    await emptyHome();
    expect(code, output).toBe(0);
    expect(left, output).toEqual([]);
    expect(kept, output).toEqual([]);
  },
);

test("every page is in the guide's table of contents", async () => {
  const contents = await readFile(join(guide, "README.md"), "utf8");
  const missing = pages.filter((page) => page !== "README.md" && !contents.includes(`(${page})`));
  expect(missing).toEqual([]);
});

test("links between the pages lead to files and headings that exist", async () => {
  const broken: string[] = [];
  const sources = [
    ...pages.map((page) => join(guide, page)),
    join(repository, "README.md"),
    join(repository, "CONTRIBUTING.md"),
  ];
  for (const source of sources) {
    const text = await readFile(source, "utf8");
    for (const [, target = ""] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file = "", anchor] = target.split("#");
      const path = file === "" ? source : join(source, "..", file);
      const found = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) =>
        error.code === "EISDIR" ? "" : undefined,
      );
      if (found === undefined || (anchor !== undefined && !anchorsOf(found).includes(anchor)))
        broken.push(`${source}: ${target}`);
    }
  }
  expect(broken).toEqual([]);
});

/** As the headings of a Markdown page are addressed. */
function anchorsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replaceAll(/\s/g, "-"),
  );
}
