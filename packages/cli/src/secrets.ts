/** What the commands on encrypted files share: their options, the keys, and how files are read, changed and written. */
import { resolve } from "node:path";
import { isUtf8 } from "node:buffer";
import { buffer } from "node:stream/consumers";
import { formatAge } from "@kws/base/duration";
import { UserError } from "@kws/base/errors";
import { readSecretFile, type SecretFile, writeSecretFile } from "@kws/platform/secrets/files";
import type { KeyAge } from "@kws/platform/secrets/key-age";
import { formatOfPath } from "@kws/sops/formats";
import type { FormatName } from "@kws/sops/formats/format";
import { openKeys } from "@kws/platform/secrets/open";
import type { Tools } from "@kws/platform/secrets/operations";
import type { Result } from "./command.ts";
import type { Context } from "./context.ts";
import { projectServices } from "./profiles.ts";

export const filesArgument = {
  name: "files",
  description: "the files",
  required: true,
  variadic: true,
} as const;

export const fileArgument = { name: "file", description: "the encrypted file", required: true } as const;

export const keyArgument = {
  name: "key",
  description: "such as `secrets.TOKEN` or `hosts[0]`",
  required: true,
} as const;

/** As sops names them. */
const formats = ["yaml", "json", "dotenv", "ini", "binary"] as const;

export const inputTypeOption = {
  type: "string",
  value: "format",
  choices: formats,
  description: "the file's format, instead of what its name says",
} as const;

export const outputTypeOption = {
  type: "string",
  value: "format",
  choices: formats,
  description: "the format that is printed, instead of the file's own",
} as const;

export const configOption = {
  type: "string",
  value: "path",
  description: "the .sops.yaml to use, instead of the nearest one above the file [SOPS_CONFIG]",
} as const;

export const filenameOption = {
  type: "string",
  value: "path",
  description: "the path that says the format, and by which rules are looked up, instead of the file's own",
} as const;

export const ignoreMacOption = {
  type: "boolean",
  description: "go on where the MAC does not agree: the file was changed by other means",
} as const;

export const inPlaceOption = {
  type: "boolean",
  short: "i",
  description: "replace the files, instead of printing one",
} as const;

interface FileOptions {
  "input-type"?: string;
  "filename-override"?: string;
  config?: string;
  "ignore-mac"?: boolean;
}

/** The keys are looked for when a file first asks. */
export async function openTools(ctx: Context, options: FileOptions): Promise<Tools> {
  const config = options.config ?? ctx.env["SOPS_CONFIG"];
  return {
    keyring: await openKeys(ctx, ctx.signal),
    now: new Date(ctx.clock()),
    ignoreMac: options["ignore-mac"],
    config: config === undefined || config === "" ? undefined : resolve(ctx.cwd, config),
    filename: filenameOf(ctx, options),
  };
}

/** The folders that were named, else the workspace's root and services that lie elsewhere, or the current folder without one. */
export async function foldersOf(ctx: Context, named: string[]): Promise<string[]> {
  if (named.length > 0) return named.map((folder) => resolve(ctx.cwd, folder));
  const project = await ctx.findProject();
  if (project === undefined) return [ctx.cwd];
  return [project.root, ...(await projectServices(ctx)).map(({ dir }) => dir)];
}

/** For people; `≥` where the data key may be older. */
export function keyAge(ctx: Context, { since, sinceBy }: KeyAge): string {
  return `${sinceBy === "lastmodified" ? "≥ " : ""}${formatAge(ctx.clock() - Date.parse(since))}`;
}

export function readFileArgument(ctx: Context, name: string, options: FileOptions): Promise<SecretFile> {
  return readSecretFile(resolve(ctx.cwd, name), formatOf(ctx, options));
}

/** Standard input, which cannot be opened by its path where it is a socket. */
const standardInputs = new Set(["-", "/dev/stdin"]);

/** `readFileArgument`, but `-` is standard input: for what is not written. */
export async function readInput(ctx: Context, name: string, options: FileOptions): Promise<SecretFile> {
  if (!standardInputs.has(name)) return readFileArgument(ctx, name, options);
  const format = formatOf(ctx, options) ?? "binary";
  return { path: resolve(ctx.cwd, name), format, content: await buffer(ctx.stdin) };
}

function formatOf(ctx: Context, options: FileOptions): FormatName | undefined {
  const filename = filenameOf(ctx, options);
  return formatNamed(options["input-type"]) ?? (filename === undefined ? undefined : formatOfPath(filename));
}

function filenameOf(ctx: Context, { "filename-override": name }: FileOptions): string | undefined {
  return name === undefined ? undefined : resolve(ctx.cwd, name);
}

/** The value of `--input-type` or `--output-type`. */
export function formatNamed(name: string | undefined): (typeof formats)[number] | undefined {
  return formats.find((format) => format === name);
}

/** One of the files that a command changed, for JSON. */
export interface ChangedFile {
  file: string;
  changed: boolean;
}

/**
 * What a change makes of each file: replaced with `--in-place`, printed without it. All contents are made before the first
 * file is written, so that one that cannot be opened leaves the others as they are.
 */
export async function changeFiles(
  ctx: Context,
  names: string[],
  options: FileOptions & { "in-place"?: boolean },
  change: (file: SecretFile, tools: Tools) => Promise<string>,
): Promise<Result> {
  const tools = await openTools(ctx, options);
  const inPlace = options["in-place"] === true;
  if (names.length > 1 && options["filename-override"] !== undefined) {
    throw new UserError("--filename-override is for one file", { code: "usage", fix: "Name one file." });
  }
  if (inPlace && names.some((name) => standardInputs.has(name))) {
    throw new UserError("standard input cannot be replaced", { code: "usage", fix: "Leave out --in-place." });
  }
  if (!inPlace && names.length > 1) {
    throw new UserError("several files cannot be printed as one", {
      code: "usage",
      fix: "Add --in-place to replace them, or name one file.",
    });
  }
  const made = [];
  for (const name of names) {
    const file = await readInput(ctx, name, options);
    made.push({ file, content: await change(file, tools) });
  }
  if (!inPlace) {
    for (const { content } of made) ctx.stdout.write(content);
    if (ctx.stdout.isTTY === true && !ctx.quiet)
      ctx.stderr.write(`! ${names.join()} is as it was: this is what --in-place would write.\n`);
    return {};
  }
  for (const { file, content } of made) await writeSecretFile(file.path, content);
  return changedResult(names.map((file) => ({ file, changed: true })));
}

export function changedResult(data: ChangedFile[]): Result {
  return {
    data,
    text: data.map(({ file, changed }) => `${file}: ${changed ? "written" : "unchanged"}`).join("\n"),
  };
}

/** The value of an argument (JSON, as for sops), else standard input as text, or as JSON where that is asked for. */
export async function valueToSet(
  ctx: Context,
  argument: string | undefined,
  isJson: boolean,
): Promise<unknown> {
  if (argument !== undefined) {
    ctx.stderr.write(
      "! Others on this machine can see arguments while a command runs: rather give the value on standard input.\n",
    );
    return parseJson(argument, "the value");
  }
  if (ctx.interactive || !isJson) return givenText(ctx);
  return parseJson(await standardInput(ctx), "standard input");
}

/** A secret that is asked for on a terminal, and read from standard input elsewhere. */
export async function givenText(ctx: Context): Promise<string> {
  return ctx.interactive ? askForValue() : (await standardInput(ctx)).replace(/\r?\n$/, "");
}

async function standardInput(ctx: Context): Promise<string> {
  const bytes = await buffer(ctx.stdin);
  if (isUtf8(bytes)) return bytes.toString();
  throw new UserError("standard input is not text in UTF-8", {
    code: "usage",
    fix: "Pipe it through `base64`, or encrypt a file of its own: `kws secrets encrypt --input-type binary`.",
  });
}

async function askForValue(): Promise<string> {
  const { password, isCancel } = await import("@clack/prompts");
  const answer = await password({ message: "The value" });
  if (isCancel(answer)) throw new UserError("no value was given", { code: "interrupted" });
  return answer;
}

/** Errors do not repeat the text. */
function parseJson(given: string, what: string): unknown {
  try {
    return JSON.parse(given) as unknown;
  } catch {
    throw new UserError(`${what} is not JSON`, {
      code: "usage",
      fix: `Text needs quotes: '"text"'. Or give it on standard input, where it is taken as it is.`,
    });
  }
}
