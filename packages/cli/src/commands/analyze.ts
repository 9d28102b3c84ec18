import { resolve } from "node:path";
import { exitCodes, type UserError } from "@kws/base/errors";
import { type Analysis, analyze, type ReportedFinding } from "@kws/platform/analysis/analyze";
import { families } from "@kws/platform/analysis/finding";
import { openSubject, type Subject } from "@kws/platform/analysis/subject";
import { findProjectFile } from "@kws/platform/project/workspace";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { listed } from "../planning.ts";
import { shortPlace } from "../profiles.ts";
import { printable, type Style } from "../style.ts";

export const command = defineCommand({
  summary: "is all in order? this machine, the cluster and the workspace, tried out",
  description:
    "Tries what kws needs instead of guessing: binds ports, writes a file and awaits its event, makes namespaces, renders every chart, " +
    "asks registries and the API server. Each finding says what is so, where, and what to do. Exits with 0 where there is no warning, " +
    "with 3 where there are warnings alone, with 4 where files of the workspace are in error, and with 1 for any other error. With " +
    "services, their repositories alone are looked at, without a cluster.",
  args: [
    {
      name: "services",
      description: "only the repositories of these",
      variadic: true,
      completes: "services",
    },
  ],
  options: {
    only: {
      type: "list",
      value: "ids",
      description: "only these checks: ids or families, separated by commas",
    },
    skip: { type: "list", value: "ids", description: "not these checks" },
    all: { type: "boolean", description: "show also what is in order" },
    fix: { type: "boolean", description: "make the fixes that are safe, and tell which" },
    bundle: {
      type: "string",
      value: "file",
      description:
        "write a .tar.gz for a bug report too: what was found and how the cluster is, without secrets",
    },
  },
  examples: [
    "kws analyze",
    "kws analyze --only machine,schema --all",
    "kws analyze orders --skip tests",
    "kws analyze --fix",
    "kws analyze --bundle kws-bundle.tar.gz",
  ],
  async run({ args, options }, ctx) {
    using subject = openSubject({
      env: ctx.childEnv,
      home: ctx.home,
      cwd: ctx.cwd,
      locations: ctx.locations,
      file: await workspaceFile(ctx),
      chosen: args,
      clock: ctx.clock,
      signal: ctx.signal,
      provider: () => ctx.provider(),
      connect: (provider) => ctx.connect(provider),
    });
    const analysis = await analyze(subject, {
      only: listed(options.only),
      skip: listed(options.skip),
      fix: options.fix === true,
      now: ctx.now,
    });
    const bundle =
      options.bundle === undefined ? undefined : await bundled(ctx, subject, analysis, options.bundle);
    return {
      data: { ...analysis, ...(bundle === undefined ? {} : { bundle }) },
      text: [
        told(ctx, analysis, options.all === true),
        ...(bundle === undefined
          ? []
          : [
              `${bundle.path} holds ${bundle.files.length} files, without secrets; look into it before you send it.`,
            ]),
      ].join("\n"),
      exitCode: exitCodeOf(analysis),
    };
  },
});

/** The nearest one, whatever is in it: what is wrong with it is a finding. */
async function workspaceFile({ cwd, globals }: Context): Promise<string | undefined> {
  try {
    return await findProjectFile(cwd, globals.file);
  } catch (error) {
    const { at } = error as UserError;
    if (at !== undefined) return at.replace(/:\d+:\d+$/, "");
    return undefined;
  }
}

async function bundled(
  ctx: Context,
  subject: Subject,
  analysis: Analysis,
  file: string,
): Promise<{ path: string; files: string[] }> {
  const { writeBundle } = await import("@kws/platform/analysis/bundle");
  const path = resolve(ctx.cwd, file);
  const { user, host } = ctx.holder;
  return { path, files: await writeBundle(subject, { path, analysis, version: ctx.version, user, host }) };
}

const ofFiles = new Set(["workspace", "service"]);

function exitCodeOf({ findings }: Analysis): number {
  const open = findings.filter(({ fixed }) => fixed === undefined);
  const errors = open.filter(({ severity }) => severity === "error");
  if (errors.some(({ family }) => !ofFiles.has(family))) return exitCodes.failed;
  if (errors.length > 0) return exitCodes.config;
  return open.some(({ severity }) => severity === "warning") ? exitCodes.degraded : exitCodes.ok;
}

function told(ctx: Context, { findings, counts }: Analysis, all: boolean): string {
  const shown = findings.filter(({ severity }) => all || severity !== "ok");
  const lines: string[] = [];
  for (const family of families) {
    const own = shown.filter((finding) => finding.family === family);
    if (own.length > 0)
      lines.push(ctx.style.bold(family), ...own.flatMap((finding) => linesOf(ctx, finding)));
  }
  const { error, warning, info, ok } = counts;
  const sum = `${counted(error, "error")}, ${counted(warning, "warning")}, ${info} for your information, ${ok} in order.`;
  return [...lines, sum].join("\n");
}

function linesOf(ctx: Context, { id, severity, message, where, fix, fixed }: ReportedFinding): string[] {
  const place = where === undefined ? "" : `${shortPlace(ctx, where) || "."}: `;
  const next = fixed === undefined ? fix : `done: ${fixed}`;
  return [
    `  ${colored(ctx.style, severity)} ${id}: ${printable(`${place}${message}`)}`,
    ...(next === undefined ? [] : [`          ${ctx.style.dim(printable(next))}`]),
  ];
}

function colored(style: Style, severity: ReportedFinding["severity"]): string {
  const text = severity.padEnd(7);
  if (severity === "error") return style.red(text);
  if (severity === "warning") return style.yellow(text);
  return severity === "ok" ? style.green(text) : style.dim(text);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
