/** Finds the command that the words name, runs it, prints what it answers, and turns failures into exit codes. */
import { resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import { type Command, confusedWith, globalOptions, type Globals } from "./command.ts";
import { commands, groups, topics } from "./commands.ts";
import type { Context, World } from "./context.ts";
import { createStyle, wantsColor } from "./style.ts";

/** The exit code. */
export async function runProgram(words: string[], world: World): Promise<number> {
  let json = wantsJson(words, world.env);
  let closing: (() => void) | undefined;
  try {
    if (words[0] === "__complete") {
      const { complete } = await import("./completion.ts");
      world.stdout.write(await complete(words.slice(2), world));
      return 0;
    }
    const named = findCommand(words);
    if (named === undefined) return await showHelp(words, world);
    const { command } = await named.load();
    const { parseCommand } = await import("./parse.ts");
    const parsed = parseCommand(named.path, command, named.rest, world.env);
    if (parsed.kind === "help") {
      world.stdout.write(parsed.text);
      return 0;
    }
    const [{ createContext }, { openWorkspaces, withDefaults }, { locations }] = await Promise.all([
      import("./create-context.ts"),
      import("./settings.ts"),
      import("@kws/platform/project/locations"),
    ]);
    const workspaces = openWorkspaces(world.cwd, parsed.globals.file);
    const { config } = locations(world.env, world.home);
    const options = await withDefaults(command, parsed.input.options, workspaces, config);
    const globals: Globals = options;
    json = globals.output === "json";
    const { context, close } = createContext(world, globals, workspaces);
    closing = close;
    return await runCommand(command, { ...parsed.input, options }, context);
  } catch (error) {
    const { describeFailure, failureJson, renderFailure } = await import("./failure.ts");
    const { locations } = await import("@kws/platform/project/locations");
    const { data, cache } = locations(world.env, world.home);
    const failure = describeFailure(
      world.signal.aborted && !(error instanceof UserError) ? world.signal.reason : error,
      [data, cache],
    );
    const noColor = words.includes("--no-color");
    const style = createStyle(wantsColor(world.env, world.stderr.isTTY === true, noColor));
    world.stderr.write(json ? failureJson(failure) : renderFailure(failure, style));
    return failure.exitCode;
  } finally {
    closing?.();
  }
}

async function runCommand(
  command: Command,
  input: Parameters<Command["run"]>[0],
  context: Context,
): Promise<number> {
  const result = (await command.run(input, context).catch((error) => refined(error, command, context))) ?? {};
  const { printResult } = await import("./output.ts");
  const { globals, env, stdout } = context;
  const style = createStyle(wantsColor(env, stdout.isTTY === true, globals["no-color"]));
  await printResult(result, globals.output ?? "table", stdout, style);
  return result.exitCode ?? 0;
}

/** A file that is not there, named by somebody who may have meant another option than `-f`. */
function refined(error: unknown, command: Command, { globals, cwd }: Context): never {
  const fix = confusedWith(command, "file");
  const named = globals.file === undefined ? undefined : resolve(cwd, globals.file);
  if (!(error instanceof UserError) || error.at === undefined || error.at !== named || fix === undefined) {
    throw error;
  }
  throw new UserError(error.message, { code: error.code, at: error.at, fix });
}

interface Named {
  path: string;
  load: () => Promise<{ command: Command }>;
  rest: string[];
}

/** Known before the words are parsed, because parsing may fail. The last one counts. */
function wantsJson(words: string[], env: NodeJS.ProcessEnv): boolean {
  const end = words.indexOf("--");
  const line = words.slice(0, end < 0 ? undefined : end).join("\n");
  const given = [...line.matchAll(/(?<=^|\n)(?:-o[=\n]?|--output[=\n])([a-z]+)(?=$|\n)/g)].at(-1)?.[1];
  return (given ?? env["KWS_OUTPUT"]) === "json";
}

/** Options that every command takes may stand before the words of the command as well. */
export function leadingOptions(words: string[]): number {
  let index = 0;
  for (let word = words[index]; word?.startsWith("-") === true; word = words[index]) {
    const known = Object.entries(globalOptions).find(([name, spec]) => {
      const short = "short" in spec ? spec.short : undefined;
      return (
        word === `--${name}` || word.startsWith(`--${name}=`) || (short !== undefined && word[1] === short)
      );
    });
    if (known === undefined) return 0;
    const takesNext = known[1].type !== "boolean" && !word.includes("=") && /^(-.|--.+)$/.test(word);
    index += takesNext ? 2 : 1;
  }
  return index;
}

/** The longest run of leading words that is a command. */
export function findCommand(all: string[]): Named | undefined {
  const before = leadingOptions(all);
  const words = all.slice(before);
  for (const length of [3, 2, 1]) {
    const path = words.slice(0, length).join(" ");
    const load = words.length >= length && Object.hasOwn(commands, path) ? commands[path] : undefined;
    if (load !== undefined) return { path, load, rest: [...all.slice(0, before), ...words.slice(length)] };
  }
  return undefined;
}

async function showHelp(words: string[], world: World): Promise<number> {
  const typed = words.filter((word) => !word.startsWith("-"));
  const [first] = typed;
  if (words.includes("--version")) {
    world.stdout.write(`${world.version}\n`);
    return 0;
  }
  const asked = first === "help" || words.includes("--help") || words.includes("-h") || words.length === 0;
  const named = first === "help" ? typed.slice(1) : typed;
  const group = [2, 1]
    .map((length) => named.slice(0, length))
    .find((path) => Object.hasOwn(groups, path.join(" ")));
  if (first === undefined || first === "help" || group?.length === named.length) {
    world.stdout.write(await helpText(group?.join(" ")));
    return asked ? 0 : 2;
  }
  const { suggest } = await import("@kws/platform/project/nearest");
  const meant = named.slice(0, (group?.length ?? 0) + 1).join(" ");
  const known =
    group === undefined
      ? [...new Set(Object.keys(commands).map((path) => path.split(" ")[0] ?? ""))]
      : Object.keys({ ...groups, ...commands }).filter((path) => path.startsWith(`${group.join(" ")} `));
  throw new UserError(`there is no command "${meant}"`, {
    code: "usage",
    fix: suggest(meant, known, "See `kws --help`."),
  });
}

/** What there is by topic, or the commands of a group. */
export async function helpText(group?: string): Promise<string> {
  const more = "More about one: kws <command> --help\n";
  if (group === undefined) {
    const words = Object.values(topics).flat();
    const width = Math.max(...words.map((word) => word.length));
    const blocks = await Promise.all(
      Object.entries(topics).map(async ([topic, words]) => {
        const lines = await Promise.all(
          words.map(async (word) => `  kws ${word.padEnd(width)}  ${await aboutWord(word)}`),
        );
        return `${topic}\n${lines.join("\n")}\n`;
      }),
    );
    return `kws: microservices from a laptop to production on Kubernetes\n\n${blocks.join("\n")}\n${more}`;
  }
  const paths = Object.keys(commands).filter((path) => `${path} `.startsWith(`${group} `));
  const width = Math.max(...paths.map((path) => path.length));
  const lines = await Promise.all(
    paths.map(async (path) => `  kws ${path.padEnd(width)}  ${await summaryOf(path)}`),
  );
  return `kws ${group}: ${groups[group] ?? ""}\n\n${lines.join("\n")}\n\n${more}`;
}

async function summaryOf(path: string): Promise<string> {
  return (await commands[path]?.())?.command.summary ?? "";
}

/** A first word's own summary, or what its group is for, and the words that may follow. */
async function aboutWord(word: string): Promise<string> {
  const own = Object.hasOwn(commands, word) ? await summaryOf(word) : groups[word];
  const second = Object.keys(commands)
    .filter((path) => path.startsWith(`${word} `))
    .map((path) => path.split(" ")[1]);
  return second.length === 0 ? `${own}` : `${own}: ${[...new Set(second)].join(", ")}`;
}
