/** What the commands under `kws convert`, and `kws init`, have in common: options, secrets, and how findings are told. */
import { relative, resolve } from "node:path";
import { sortFindings } from "@kws/platform/convert/finding";
import type { Conversion } from "@kws/platform/convert/plan";
import { type Encrypt, writeConversion } from "@kws/platform/convert/write";
import { namedKeys } from "@kws/platform/secrets/files";
import { ownRecipient } from "@kws/platform/secrets/identity";
import { openKeys } from "@kws/platform/secrets/open";
import { encryptFile } from "@kws/platform/secrets/operations";
import { exitCodes } from "@kws/base/errors";
import type { OptionSpec, Result } from "./command.ts";
import type { Context } from "./context.ts";
import type { Style } from "./style.ts";

/** `-o` stands for it, where what follows is no format. */
export const folderOption = "to";

export const convertOptions = {
  [folderOption]: {
    type: "string",
    value: "folder",
    description: "where to write, instead of beside the input; also -o",
  },
  age: {
    type: "string",
    value: "recipient",
    description: "whom secrets are encrypted for, where no .sops.yaml says it",
  },
  force: { type: "boolean", description: "replace files that exist" },
  "dry-run": { type: "boolean", description: "write nothing, and tell what would be written" },
} as const satisfies Record<string, OptionSpec>;

export interface ConvertFlags {
  to?: string;
  age?: string;
  force?: boolean;
  "dry-run"?: boolean;
}

/** Where to write, absolute; undefined where the input's place decides. */
export function targetFolder(ctx: Context, options: ConvertFlags): string | undefined {
  return options.to === undefined ? undefined : resolve(ctx.cwd, options.to);
}

/** Writes what was converted and tells it; `degraded` where something has to be done before it works. */
export async function finish(ctx: Context, conversion: Conversion, options: ConvertFlags): Promise<Result> {
  const dryRun = options["dry-run"] === true;
  const files = await writeConversion(conversion, {
    recipient: options.age ?? (await ownRecipient(ctx)),
    encrypt: encryptWith(ctx),
    force: options.force === true,
    dryRun,
  });
  const findings = sortFindings(conversion.findings);
  const services = conversion.services.map(({ name }) => name);
  return {
    data: { name: conversion.name, folder: conversion.root, services, files, findings },
    text: told(ctx, { ...conversion, findings }, files, dryRun),
    exitCode: findings.some(({ severity }) => severity === "error") ? exitCodes.degraded : exitCodes.ok,
  };
}

function encryptWith(ctx: Context): Encrypt {
  return async (path, content, recipient) => {
    const tools = { keyring: await openKeys(ctx, ctx.signal), now: new Date(ctx.clock()) };
    const file = { path, format: "yaml" as const, content: Buffer.from(content) };
    return encryptFile(file, tools, { keys: namedKeys({ age: recipient }, {}) });
  };
}

function told(
  ctx: Context,
  { root, services, stacks, findings }: Conversion,
  files: string[],
  dryRun: boolean,
): string {
  const shown = (path: string): string => relative(ctx.cwd, path) || ".";
  const written = services.map(({ name, dir }) => {
    const count = files.filter((path) => path.startsWith(`${dir}/`)).length;
    return `${name}: ${shown(dir)} (${count} files)`;
  });
  const lines = findings.flatMap(({ severity, key, at, message, fix }) => [
    `${mark(ctx.style, severity)} ${[at.startsWith(ctx.cwd) ? shown(at) : at, key].filter((part) => part !== "").join(" ")}: ${message}`,
    ...(fix === undefined ? [] : [`    ${fix}`]),
  ]);
  const [first = ""] = stacks;
  const stack = stacks.length > 1 ? ` ${first}` : "";
  const place = root === ctx.cwd ? "" : ` --file ${shown(root)}`;
  return [
    dryRun ? "would write:" : "wrote:",
    `  ${shown(root)}/kws.yaml`,
    ...written.map((line) => `  ${line}`),
    ...(lines.length === 0 ? [] : ["", ...lines]),
    "",
    `Next: kws stack start${stack}${place}`,
  ].join("\n");
}

function mark(style: Style, severity: string): string {
  if (severity === "error") return style.red("error  ");
  return severity === "warning" ? style.yellow("warning") : "note   ";
}
