/** The completion scripts in the shells that this machine has, with a `kws` that only notes what it is asked. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { completionScript } from "./completion.ts";

const path = process.env["PATH"] ?? "";
const isMissing = (program: string) => !path.split(delimiter).some((dir) => existsSync(join(dir, program)));
const quoted = (words: string[]) => words.map((word) => `'${word}'`).join(" ");

interface Shell {
  /** What the script has to be followed by to complete the words, one candidate a line. */
  asks: (words: string[]) => string;
  program: string;
  flags: string[];
}

const shells: Record<string, Shell> = {
  bash: {
    program: "bash",
    flags: ["--norc", "-c"],
    asks: (words) =>
      `COMP_WORDS=(${quoted(words)}); COMP_CWORD=${words.length - 1}; _kws; printf '%s\n' "\${COMPREPLY[@]}"`,
  },
  // Completion as such needs a terminal: what the function would add is printed.
  zsh: {
    program: "zsh",
    flags: ["-f", "-c"],
    asks: (words) =>
      `compadd() { print -l \${(P)2} }; words=(${quoted(words)}); CURRENT=${words.length}; _kws`,
  },
  fish: {
    program: "fish",
    flags: ["--no-config", "-c"],
    asks: (words) => `complete -C "${words.join(" ")}"`,
  },
  powershell: {
    program: "pwsh",
    flags: ["-NoProfile", "-Command"],
    asks: (words) => {
      const line = words.join(" ");
      return `(TabExpansion2 '${line}' ${line.length}).CompletionMatches.CompletionText`;
    },
  },
};

for (const [name, { program, flags, asks }] of Object.entries(shells)) {
  test
    .skipIf(isMissing(program))
    .each([
      { words: ["kws", "st"] },
      { words: ["kws", "stack", ""] },
      { words: ["kws", "service", "logs", "--stack", "st"] },
      { words: ["kws", "service", "logs", "orders", ""] },
    ])(`${name} completes $words`, async ({ words }) => {
    await using dir = await tempDir("kws-completion");
    const asked = join(dir.path, "asked");
    const kws = join(dir.path, "kws");
    await writeFile(
      kws,
      `#!/bin/sh\nfor word; do echo "<$word>"; done > ${asked}\nprintf 'start\\nstatus\\n'\n`,
    );
    await chmod(kws, 0o755);
    const before = name === "zsh" ? "compdef() { :; }\n" : "";
    const script = `${before}${completionScript(name)}\n${asks(words)}`;
    const env = { PATH: `${dir.path}${delimiter}${path}`, HOME: dir.path, TERM: "dumb" };
    const { stdout, stderr } = await promisify(execFile)(program, [...flags, script], { env });
    expect(stderr).toBe("");
    expect(stdout.trim().split(/\s+/)).toEqual(["start", "status"]);
    const expected = ["__complete", "--", ...words.slice(1)].map((word) => `<${word}>`);
    expect((await readFile(asked, "utf8")).trim().split("\n")).toEqual(expected);
  });
}
