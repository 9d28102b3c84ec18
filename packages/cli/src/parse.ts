/** From words to a command's arguments and options; touches no disk and no network. Variables stand in for absent flags. */
import { parseDuration } from "@kws/base/duration";
import { UserError } from "@kws/base/errors";
import { Command as Parser, CommanderError, Option } from "commander";
import {
  type Command,
  type CommandInput,
  confusedWith,
  globalOptions,
  type Globals,
  type OptionSpec,
  variableOf,
} from "./command.ts";

export type Parsed =
  | { kind: "help"; text: string }
  | { kind: "run"; input: CommandInput<Record<string, OptionSpec>>; globals: Globals };

export function parseCommand(
  path: string,
  command: Command,
  words: string[],
  env: NodeJS.ProcessEnv,
): Parsed {
  let help = "";
  const parser = new Parser(`kws ${path}`)
    .description(command.description ?? `${capital(command.summary)}.`)
    .exitOverride()
    .configureOutput({ writeOut: (text) => (help += text), writeErr: () => {} })
    .helpOption("-h, --help", "show this")
    .showSuggestionAfterError(true)
    .addHelpText("after", helpTail(command));
  for (const argument of command.args) {
    const name = argument.variadic === true ? `${argument.name}...` : argument.name;
    parser.argument(argument.required === true ? `<${name}>` : `[${name}]`, argument.description);
  }
  const all: Record<string, OptionSpec> = { ...command.options, ...globalOptions };
  for (const [name, spec] of Object.entries(command.options)) parser.addOption(toOption(name, spec));
  for (const [name, spec] of Object.entries(globalOptions)) {
    parser.addOption(toOption(name, spec).helpGroup("Options of every command:"));
  }
  try {
    parser.parse(withFolder(command, words), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.helpDisplayed" || error.code === "commander.help")
      return { kind: "help", text: help };
    const lacking = /'-\w, --([\w-]+) <\w+>' argument missing/.exec(error.message)?.[1];
    throw new UserError(error.message.replace(/^error: /, ""), {
      code: "usage",
      fix: confusedWith(command, lacking) ?? `See \`kws ${path} --help\`.`,
    });
  }
  const given = parser.opts<Record<string, Raw>>();
  const values: Record<string, Value> = {};
  for (const [name, spec] of Object.entries(all)) {
    const key = camel(name);
    const raw = name === "no-color" ? given["color"] === false || undefined : given[key];
    if (spec.type === "string" && typeof raw === "string" && isFlagOf(all, raw)) {
      throw new UserError(`--${name} needs a ${spec.value}, not "${raw}"`, {
        code: "usage",
        fix: confusedWith(command, name) ?? `See \`kws ${path} --help\`.`,
      });
    }
    const value =
      convert(`--${name}`, spec, raw) ??
      convert(variableOf(name), spec, fromEnv(spec, env[variableOf(name)]));
    if (value !== undefined) values[name] = value;
  }
  const input = { args: parser.args, options: values } as CommandInput<Record<string, OptionSpec>>;
  return { kind: "run", input, globals: values };
}

/** `-o FOLDER` → `--to FOLDER`, for commands that write one. */
function withFolder({ folderOption }: Command, words: string[]): string[] {
  const formats: readonly string[] = globalOptions.output.choices;
  return words.map((word, index) => {
    const next = words[index + 1];
    const isFolder = word === "-o" && next !== undefined && !next.startsWith("-") && !formats.includes(next);
    return isFolder && folderOption !== undefined ? `--${folderOption}` : word;
  });
}

type Raw = string | string[] | boolean | undefined;
type Value = string | string[] | number | boolean;

function isFlagOf(options: Record<string, OptionSpec>, word: string): boolean {
  return Object.entries(options).some(([name, { short }]) => word === `--${name}` || word === `-${short}`);
}

function toOption(name: string, spec: OptionSpec): Option {
  const flag = spec.type === "boolean" ? `--${name}` : `--${name} <${spec.value}>`;
  const option = new Option(
    spec.short === undefined ? flag : `-${spec.short}, ${flag}`,
    `${spec.description} [${variableOf(name)}]`,
  );
  if (spec.type === "list") {
    return option.argParser((value, before: string[] | undefined) => [...(before ?? []), value]);
  }
  return spec.type === "string" && spec.choices !== undefined ? option.choices([...spec.choices]) : option;
}

function fromEnv(spec: OptionSpec, value: string | undefined): string | boolean | undefined {
  if (value === undefined || value === "") return undefined;
  if (spec.type !== "boolean") return value;
  return !["0", "false", "no"].includes(value.toLowerCase());
}

/** `name` is what the value was given by: the flag, or the variable. */
export function convert(name: string, spec: OptionSpec, raw: Raw): Value | undefined {
  if (raw === undefined) return undefined;
  if (spec.type === "boolean") return raw === true;
  if (spec.type === "list") return Array.isArray(raw) ? raw : [String(raw)];
  const text = String(raw);
  if (spec.type === "duration") return parseDuration(text);
  if (spec.type === "number") {
    return wholeNumber(name, spec, text);
  }
  if (spec.choices !== undefined && !spec.choices.includes(text)) {
    throw new UserError(`${name} cannot be "${text}"`, {
      code: "usage",
      fix: `Use one of: ${spec.choices.join(", ")}.`,
    });
  }
  return text;
}

function wholeNumber(name: string, spec: { min?: number; max?: number }, text: string): number {
  const { min = 0, max = 999_999_999 } = spec;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const range = spec.max === undefined ? `${min} or more` : `from ${min} to ${max}`;
  throw new UserError(`${name} must be a number, ${range}, not "${text}"`, { code: "usage" });
}

function helpTail(command: Command): string {
  return command.examples.length === 0
    ? ""
    : `\nExamples:\n${command.examples.map((line) => `  $ ${line}`).join("\n")}`;
}

function camel(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
