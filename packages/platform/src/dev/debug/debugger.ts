/**
 * How a command is started under its language's debugger. Debuggers listen on the pod's loopback address alone: a forward
 * reaches it, other pods do not.
 */
import { existsSync, readdirSync } from "node:fs";
import { basename } from "node:path";
import { UserError } from "@kws/base/errors";
import type { DebugLanguage } from "../../project/schema.ts";
import type { ProjectService } from "../../project/workspace.ts";

/** `run`: the program runs, and a debugger may come; `hold`: it waits at its beginning until one does. */
export type DebugStart = "run" | "hold";

export interface Debugger {
  language: DebugLanguage;
  /** In the pod; undefined where an editor runs its debugger in the container itself. */
  port: number | undefined;
  command: string[];
}

/** What debuggers of a language listen on by convention. */
const ports: Record<DebugLanguage, number | undefined> = {
  node: 9229,
  python: 5678,
  jvm: 5005,
  go: 2345,
  dotnet: undefined,
};

/** Undefined where the command cannot be taken apart. */
type Start = (command: string[], port: number, start: DebugStart) => string[] | undefined;

const starts: Record<DebugLanguage, Start> = {
  node: nodeCommand,
  python: pythonCommand,
  jvm: jvmCommand,
  go: goCommand,
  // vsdbg attaches to the process by its number.
  dotnet: (command) => command,
};

export function debuggerOf(
  { name, dir, config, file }: ProjectService,
  command: string[],
  start: DebugStart,
): Debugger {
  const { language: given, command: own, port: wanted } = config.dev?.debug ?? {};
  const language = given ?? languageOf(command, dir);
  if (language === undefined) {
    throw new UserError(`nothing says which language ${name} is written in`, {
      code: "config",
      at: file.at(["dev"], true),
      fix: `Add dev.debug.language to its kws.yaml: ${Object.keys(ports).join(", ")}.`,
    });
  }
  const port = wanted ?? ports[language];
  if (start === "hold" && (language === "dotnet" || own !== undefined)) {
    throw new UserError(`${name} cannot be held at its first line`, {
      code: "usage",
      ...(own === undefined ? {} : { at: file.at(["dev", "debug", "command"]) }),
      fix:
        own === undefined
          ? "Use --debug: debuggers of .NET attach to a process that runs."
          : "Use --debug: what dev.debug.command says is run as it is.",
    });
  }
  const started = own ?? starts[language](command, port ?? 0, start);
  if (started !== undefined) return { language, port, command: started };
  throw new UserError(`how ${name} is started under its debugger is not known: \`${command.join(" ")}\``, {
    code: "config",
    at: file.at(["dev"], true),
    fix: "Add dev.debug.command to its kws.yaml: the command with its debugger, which listens on 127.0.0.1 and dev.debug.port.",
  });
}

const pythonModules = /^(flask|uvicorn|gunicorn|hypercorn|celery|pytest)$/;
const runners = /^(uv|poetry|pipenv|pdm)$/;

const programs: [DebugLanguage, RegExp][] = [
  ["node", /^(node|npm|npx|yarn|pnpm|nodemon|tsx|ts-node)$/],
  ["python", /^python[\d.]*$/],
  ["python", pythonModules],
  ["python", runners],
  ["jvm", /^(java|mvnw?|gradlew?)$/],
  ["go", /^(go|dlv)$/],
  ["dotnet", /^dotnet$/],
];

const files: [DebugLanguage, RegExp][] = [
  ["node", /^package\.json$/],
  ["go", /^go\.mod$/],
  ["jvm", /^(pom\.xml|build\.gradle(\.kts)?)$/],
  ["python", /^(requirements\.txt|pyproject\.toml)$/],
  ["dotnet", /\.(cs|fs|vb)proj$/],
];

/** By the program, and where that tells nothing by what the folder holds. */
function languageOf([program = ""]: string[], dir: string): DebugLanguage | undefined {
  const [byProgram] = programs.find(([, pattern]) => pattern.test(basename(program))) ?? [];
  if (byProgram !== undefined) return byProgram;
  const names = existsSync(dir) ? readdirSync(dir) : [];
  return files.find(([, pattern]) => names.some((name) => pattern.test(name)))?.[0];
}

/**
 * Programs that start others and are not what is debugged: they leave the port to the process that they start. `--import` takes
 * a module from a URL (Node 18.18), which saves a file in the container.
 */
const launchers =
  "npm|yarn|pnpm|corepack|npm-run-all2?|concurrently|cross-env|dotenv-cli|nodemon|tsx|ts-node-dev";
const leavePort = `import{close}from'node:inspector';if(/node_modules.(${launchers}|@nestjs.cli)./.test(process.argv[1]))close()`;

/** https://nodejs.org/api/cli.html#--inspecthostport */
function nodeCommand(command: string[], port: number, start: DebugStart): string[] {
  const [program = "", ...rest] = command;
  const flag = `--inspect${start === "hold" ? "-brk" : ""}=127.0.0.1:${port}`;
  if (basename(program) === "node")
    return [program, flag, ...rest.filter((word) => !/^--inspect\b/.test(word))];
  return withOption("NODE_OPTIONS", `${flag} --import=data:text/javascript,${encodeURI(leavePort)}`, command);
}

/** https://github.com/microsoft/debugpy#debugpy-cli-usage */
function pythonCommand(command: string[], port: number, start: DebugStart): string[] | undefined {
  const [program = "", ...rest] = command;
  const debugpy = [
    "-m",
    "debugpy",
    "--listen",
    `127.0.0.1:${port}`,
    ...(start === "hold" ? ["--wait-for-client"] : []),
  ];
  const name = basename(program);
  if (runners.test(name) && rest[0] === "run") {
    const inner = pythonCommand(rest.slice(1), port, start);
    return inner === undefined ? undefined : [program, "run", ...inner];
  }
  if (pythonModules.test(name)) return ["python3", ...debugpy, "-m", name, ...rest];
  if (!/^python[\d.]*$/.test(name)) return undefined;
  // What is the interpreter's own comes before: `python -u -m app`.
  const first = rest.findIndex((word, index) => !isInterpreterOption(word, rest[index - 1]));
  if (first === -1) return undefined;
  return [program, ...rest.slice(0, first), ...debugpy, ...rest.slice(first)];
}

function isInterpreterOption(word: string, before: string | undefined): boolean {
  if (before !== undefined && /^-[WX]$/.test(before)) return true;
  return word.startsWith("-") && !/^-[mc]/.test(word) && word !== "-";
}

/** https://docs.oracle.com/en/java/javase/21/docs/specs/jpda/conninv.html */
function jvmCommand(command: string[], port: number, start: DebugStart): string[] | undefined {
  const [program = "", ...rest] = command;
  const suspend = start === "hold" ? "y" : "n";
  const agent = `-agentlib:jdwp=transport=dt_socket,server=y,suspend=${suspend},address=127.0.0.1:${port}`;
  const name = basename(program);
  if (name === "java") return [program, agent, ...rest];
  if (/^mvnw?$/.test(name)) {
    // Spring Boot's plugin runs the program in a JVM of its own; others run it in Maven's.
    return rest.includes("spring-boot:run")
      ? [program, `-Dspring-boot.run.jvmArguments=${agent}`, ...rest]
      : withOption("MAVEN_OPTS", agent, command);
  }
  // Gradle's own JVM would take the port from the program's.
  if (/^gradlew?$/.test(name)) return undefined;
  return withOption("JAVA_TOOL_OPTIONS", agent, command);
}

/** https://github.com/go-delve/delve/tree/master/Documentation/usage */
function goCommand(command: string[], port: number, start: DebugStart): string[] | undefined {
  const options = [
    "--headless",
    `--listen=127.0.0.1:${port}`,
    "--api-version=2",
    "--accept-multiclient",
    // Connections through a forward come from the node, as another user than the process's own.
    "--only-same-user=false",
    ...(start === "hold" ? [] : ["--continue"]),
  ];
  const [program = "", verb, ...rest] = command;
  const name = basename(program);
  if (name === "dlv") return undefined;
  if (name !== "go") return ["dlv", "exec", program, ...options, ...separated(command.slice(1))];
  if (verb !== "run") return undefined;
  const flags = rest.findIndex((word, index) => !isBuildFlag(word, rest[index - 1]));
  if (flags === -1) return undefined;
  const build = rest.slice(0, flags);
  const target = rest.slice(flags);
  const end = Math.max(
    1,
    target.findIndex((word) => !word.endsWith(".go")),
  );
  const packages = target.every((word) => word.endsWith(".go")) ? target : target.slice(0, end);
  return [
    "dlv",
    "debug",
    ...packages,
    ...options,
    ...(build.length === 0 ? [] : [`--build-flags=${build.join(" ")}`]),
    ...separated(target.slice(packages.length)),
  ];
}

/** Those of `go help build` whose value is a word of its own. */
const withValue =
  /^--?(asmflags|buildmode|buildvcs|C|compiler|covermode|coverpkg|exec|gccgoflags|gcflags|installsuffix|ldflags|mod|modfile|overlay|p|pgo|pkgdir|tags|toolexec)$/;

function isBuildFlag(word: string, before: string | undefined): boolean {
  return word.startsWith("-") || (before !== undefined && withValue.test(before));
}

function separated(args: string[]): string[] {
  return args.length === 0 ? [] : ["--", ...args];
}

/** Adds to what the container has in a variable, wherever that comes from; for a shell, which every dev container has. */
function withOption(variable: string, value: string, command: string[]): string[] {
  const script = `export ${variable}="\${${variable}:+$${variable} }$0"; exec "$@"`;
  return ["sh", "-c", script, value, ...command];
}
