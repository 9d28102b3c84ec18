/** Reads a Dockerfile into stages and instructions, each with the place where it stands. */
import { UserError, messageOf } from "@kws/base/errors";
import { DockerfileParser } from "dockerfile-ast";
import type { Instruction as Node } from "dockerfile-ast";

export interface Instruction {
  keyword: string;
  flags: { name: string; value: string }[];
  /** The arguments with continued lines joined, comments and flags left out. */
  text: string;
  /** The arguments of the exec (JSON) form. */
  json: string[] | undefined;
  heredocs: Heredoc[];
  /** `file:line:column`. */
  at: string;
}

export interface Heredoc {
  name: string;
  content: string;
  /** False where the delimiter is quoted. */
  expand: boolean;
}

export interface Stage {
  /** The text after FROM: an image or an earlier stage, variables not yet replaced. */
  from: Instruction;
  base: string;
  name: string | undefined;
  instructions: Instruction[];
}

export interface Dockerfile {
  /** The file's name for people. */
  name: string;
  escape: string;
  /** ARG instructions before the first FROM. */
  args: Instruction[];
  stages: Stage[];
}

const keywords = new Set(
  "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split(
    " ",
  ),
);
const withFlags = new Set(["ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"]);
const withJson = new Set(["ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"]);

export function syntaxError(at: string, message: string, fix?: string): UserError {
  return new UserError(message, { code: "config", at, ...(fix === undefined ? {} : { fix }) });
}

/** Throws a `UserError` with code `config` and the place for what is not a Dockerfile. */
export function parseDockerfile(content: string, name: string): Dockerfile {
  const text = content.replaceAll("\r\n", "\n");
  const ast = DockerfileParser.parse(text);
  const escape = ast.getEscapeCharacter();
  const lines = text.split("\n");
  const dockerfile: Dockerfile = { name, escape, args: [], stages: [] };
  for (const node of ast.getInstructions()) {
    const instruction = readInstruction(node, lines, escape, name);
    const { keyword, at } = instruction;
    if (!keywords.has(keyword)) throw syntaxError(at, `unknown instruction ${keyword}`);
    if (keyword === "FROM") {
      dockerfile.stages.push(readFrom(instruction, dockerfile.stages));
    } else if (dockerfile.stages.length > 0) {
      dockerfile.stages.at(-1)?.instructions.push(instruction);
    } else if (keyword === "ARG") {
      dockerfile.args.push(instruction);
    } else {
      throw syntaxError(at, `${keyword} stands before the first FROM`, "begin with FROM");
    }
  }
  if (dockerfile.stages.length === 0) {
    throw syntaxError(`${name}:1:1`, "there is no FROM", "begin with FROM and a base image");
  }
  return dockerfile;
}

function readFrom(from: Instruction, earlier: Stage[]): Stage {
  const words = from.text.split(/\s+/).filter(Boolean);
  const [base, as, name] = words;
  const named = words.length === 3 && as?.toUpperCase() === "AS";
  if (base === undefined || (words.length !== 1 && !named)) {
    throw syntaxError(from.at, "FROM takes an image and, if wanted, AS and a name");
  }
  const lower = named ? name?.toLowerCase() : undefined;
  if (lower !== undefined && !/^[a-z][a-z0-9-_.]*$/.test(lower)) {
    throw syntaxError(from.at, `"${name}" cannot name a stage`, "begin it with a letter");
  }
  if (lower !== undefined && earlier.some((stage) => stage.name === lower)) {
    throw syntaxError(from.at, `two stages have the name "${name}"`);
  }
  return { from, base, name: lower, instructions: [] };
}

function readInstruction(node: Node, lines: string[], escape: string, name: string): Instruction {
  const { start, end } = node.getRange();
  const at = `${name}:${start.line + 1}:${start.character + 1}`;
  const keyword = node.getKeyword().toUpperCase();
  const own = lines.slice(start.line, end.line + 1);
  own[own.length - 1] = (own.at(-1) ?? "").slice(0, end.line === start.line ? end.character : undefined);
  own[0] = (own[0] ?? "").slice(start.character);
  const heredocs: Heredoc[] = [];
  const logical = joinLines(own, escape, ["RUN", "COPY", "ADD"].includes(keyword), heredocs, at);
  let text = logical.slice(keyword.length).trim();
  const flags: Instruction["flags"] = [];
  while (withFlags.has(keyword) && text.startsWith("--")) {
    const [written = ""] = /^\S+/.exec(text) ?? [];
    const cut = written.indexOf("=");
    flags.push({
      name: written.slice(2, cut === -1 ? undefined : cut),
      value: cut === -1 ? "" : written.slice(cut + 1),
    });
    text = text.slice(written.length).trim();
  }
  if (text === "") throw syntaxError(at, `${keyword} needs an argument`);
  const json = withJson.has(keyword) ? readJson(text) : undefined;
  return { keyword, flags, text, json, heredocs, at };
}

/** Joins continued lines; lines of comments between them vanish. Here-documents are taken out where they are allowed. */
function joinLines(
  lines: string[],
  escape: string,
  allowHeredocs: boolean,
  heredocs: Heredoc[],
  at: string,
): string {
  let text = "";
  let index = 0;
  for (; index < lines.length; index += 1) {
    const line = lines[index] ?? "";
    if (index > 0 && (/^\s*#/.test(line) || line.trim() === "")) continue;
    const trimmed = line.replace(/[ \t]+$/, "");
    if (trimmed.endsWith(escape)) {
      text += trimmed.slice(0, -1);
      continue;
    }
    text += line;
    index += 1;
    break;
  }
  if (!allowHeredocs) return text;
  for (const [, dash, quote, name = ""] of text.matchAll(/<<(-?)(["']?)([A-Za-z_]\w*)\2/g)) {
    const body: string[] = [];
    const strip = (line: string) => (dash === "-" ? line.replace(/^\t+/, "") : line);
    while (index < lines.length && strip(lines[index] ?? "") !== name) {
      body.push(strip(lines[index] ?? ""));
      index += 1;
    }
    if (index >= lines.length) {
      // "<<" in a shell's arithmetic or a here-string that the shell itself must judge.
      if (heredocs.length === 0 && body.length === 0) return text;
      throw syntaxError(at, `the here-document "${name}" does not end`, `add a line "${name}"`);
    }
    index += 1;
    const content = body.map((line) => `${line}\n`).join("");
    heredocs.push({ name, content, expand: quote === "" });
  }
  return text;
}

/** The exec form: a JSON list of strings. Anything else is the shell form, as with Docker. */
function readJson(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw new Error(messageOf(error), { cause: error });
  }
  return undefined;
}
