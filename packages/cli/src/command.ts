/** What a command is: data for help, completion and the reference, and a short handler. */
import { providerNames } from "@kws/platform/project/provider-names";
import type { Context } from "./context.ts";

/** What completion offers for an argument or an option's value, asked live. */
export type Completes = "services" | "stacks" | "profiles" | "clusters" | "contexts" | "shells";

interface OptionBase {
  description: string;
  /** One letter. */
  short?: string;
  completes?: Completes;
}

export type OptionSpec = OptionBase &
  (
    | { type: "boolean" }
    | { type: "string"; value: string; choices?: readonly string[] }
    /** Strings: the option may be given several times. */
    | { type: "list"; value: string }
    /** A whole number; both bounds belong to the range. */
    | { type: "number"; value: string; min?: number; max?: number }
    /** Milliseconds, written like `90s` or `1h30m`. */
    | { type: "duration"; value: string }
  );

export interface ArgumentSpec {
  name: string;
  description: string;
  required?: boolean;
  /** Takes all that remain; the last one only. */
  variadic?: boolean;
  completes?: Completes;
}

type ValueOf<O extends OptionSpec> = O["type"] extends "boolean"
  ? boolean
  : O["type"] extends "string"
    ? string
    : O["type"] extends "list"
      ? string[]
      : number;

export type OptionValues<O extends Record<string, OptionSpec>> = { [K in keyof O]?: ValueOf<O[K]> };

/** What a command answers; `output.ts` prints it. */
export interface Result {
  /** For `-o json` and `-o yaml`. */
  data?: unknown;
  /** For people: a table, or text. */
  table?: { columns: string[]; rows: string[][] };
  text?: string;
  exitCode?: number;
}

export interface CommandInput<O extends Record<string, OptionSpec>> {
  args: string[];
  options: OptionValues<O>;
}

export interface CommandDefinition<O extends Record<string, OptionSpec> = Record<string, OptionSpec>> {
  summary: string;
  /** More than the summary, for `--help`. */
  description?: string;
  args?: ArgumentSpec[];
  options?: O;
  /** The option that `-o` stands for where a folder follows it, and no format of results. */
  folderOption?: string;
  examples: string[];
  run(input: CommandInput<O>, ctx: Context): Promise<Result | void>;
}

/** A command with its options' types forgotten: what the map of commands holds. */
export interface Command {
  summary: string;
  description?: string;
  args: ArgumentSpec[];
  options: Record<string, OptionSpec>;
  folderOption?: string;
  examples: string[];
  run(input: CommandInput<Record<string, OptionSpec>>, ctx: Context): Promise<Result | void>;
}

export function defineCommand<const O extends Record<string, OptionSpec>>(
  definition: CommandDefinition<O>,
): Command {
  return {
    args: [],
    ...definition,
    options: definition.options ?? {},
    run: (input, ctx) => definition.run(input as CommandInput<O>, ctx),
  };
}

/** The options that every command takes. */
export const globalOptions = {
  file: {
    type: "string",
    short: "f",
    value: "path",
    description: "the workspace's kws.yaml, instead of the nearest one",
  },
  provider: {
    type: "string",
    value: "name",
    choices: providerNames,
    description: "what gives the cluster; the workspace says which unless given",
  },
  context: {
    type: "string",
    value: "name",
    description: "a kubeconfig context, which must be allowed",
    completes: "contexts",
  },
  kubeconfig: { type: "string", value: "path", description: "the kubeconfig that has the context" },
  cluster: {
    type: "string",
    value: "name",
    description: "the cluster to work on, by the provider's name for it",
    completes: "clusters",
  },
  namespace: {
    type: "string",
    short: "n",
    value: "name",
    description: "the namespace, instead of the stack's own",
  },
  output: {
    type: "string",
    short: "o",
    value: "format",
    choices: ["table", "json", "yaml"],
    description: "how results are printed",
  },
  yes: { type: "boolean", short: "y", description: "do not ask" },
  quiet: { type: "boolean", short: "q", description: "no progress on standard error" },
  "log-level": {
    type: "string",
    value: "level",
    choices: ["debug", "info", "warn", "error"],
    description: "debug tells every request and program; warn and error leave out the progress",
  },
  "no-color": { type: "boolean", description: "no colours" },
} as const satisfies Record<string, OptionSpec>;

export type Globals = OptionValues<typeof globalOptions>;

/** `--log-level` → `KWS_LOG_LEVEL`. */
export function variableOf(option: string): string {
  return `KWS_${option.toUpperCase().replaceAll("-", "_")}`;
}

/**
 * For somebody who typed the short form of an option of every command and meant one of this command that begins with the same
 * letter, such as `-f` for `--follow`; undefined where there is none.
 */
export function confusedWith(command: Command, name: string | undefined): string | undefined {
  const [, spec] = Object.entries<OptionSpec>(globalOptions).find(([global]) => global === name) ?? [];
  const meant = Object.keys(command.options).find((option) => option[0] === spec?.short);
  return meant === undefined ? undefined : `-${spec?.short} is --${name}; did you mean --${meant}?`;
}
