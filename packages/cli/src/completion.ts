/** Completion: the scripts for the shells, and the words that they ask for. Asking is quick and never fails aloud. */
import { UserError } from "@kws/base/errors";
import { type Completes, globalOptions, type OptionSpec } from "./command.ts";
import { commands } from "./commands.ts";
import type { Context, World } from "./context.ts";
import { createContext } from "./create-context.ts";
import { findCommand, leadingOptions } from "./program.ts";

export const shells = ["bash", "zsh", "fish", "powershell"] as const;

/** The words that may stand in the last place, one a line. `given` are those after `kws`, the last one perhaps begun. */
export async function complete(given: string[], world: World): Promise<string> {
  // bash takes `--stack=shop` apart at the sign.
  const isSign = (word: string, index: number) => word === "=" && given[index - 1]?.startsWith("--") === true;
  const words = given.filter((word, index) => !isSign(word, index));
  if (given.length > 0 && isSign(given.at(-1) ?? "", given.length - 1)) words.push("");
  const last = words.at(-1) ?? "";
  const joined = /^(--[^=]+=)(.*)$/s.exec(last);
  const [prefix, current] = joined === null ? ["", last] : [joined[1] ?? "", joined[2] ?? ""];
  const before = [...words.slice(0, -1), ...(prefix === "" ? [] : [prefix.slice(0, -1)])];
  const candidates = await candidatesFor(before, current, world);
  return [...new Set(candidates)]
    .filter((candidate) => candidate.startsWith(current))
    .sort()
    .map((candidate) => `${prefix}${candidate}\n`)
    .join("");
}

async function candidatesFor(before: string[], current: string, world: World): Promise<string[]> {
  const named = findCommand(before);
  if (named === undefined) {
    const words = before.slice(leadingOptions(before));
    const asked = optionOf(globalOptions, before.at(-1) ?? "");
    if (asked?.completes !== undefined) return liveNames(asked.completes, world);
    if (current.startsWith("-")) return Object.keys(globalOptions).map((name) => `--${name}`);
    const prefix = words.length === 0 ? "" : `${words.join(" ")} `;
    return Object.keys(commands)
      .filter((path) => path.startsWith(prefix))
      .map((path) => path.slice(prefix.length).split(" ")[0] ?? "");
  }
  if (named.rest.includes("--")) return [];
  const { command } = await named.load();
  const options: Record<string, OptionSpec> = { ...command.options, ...globalOptions };
  const asked = optionOf(options, named.rest.at(-1) ?? "");
  if (asked !== undefined && asked.type !== "boolean") {
    if (asked.type === "string" && asked.choices !== undefined) return [...asked.choices];
    return asked.completes === undefined ? [] : liveNames(asked.completes, world);
  }
  if (current.startsWith("-")) return Object.keys(options).map((name) => `--${name}`);
  const taken = positionals(named.rest, options);
  // `kws package` is a command, and so is `kws package list`.
  const longer = Object.keys(commands)
    .filter((path) => named.rest.length === 0 && path.startsWith(`${named.path} `))
    .map((path) => path.slice(named.path.length + 1));
  const argument =
    command.args[taken.length] ?? command.args.findLast((candidate) => candidate.variadic === true);
  if (argument?.completes === undefined) return longer;
  const names = await liveNames(argument.completes, world);
  return [...longer, ...names.filter((name) => !taken.includes(name))];
}

function optionOf(options: Record<string, OptionSpec>, word: string): OptionSpec | undefined {
  if (word.startsWith("--")) return options[word.slice(2)];
  return /^-[a-zA-Z]$/.test(word)
    ? Object.values(options).find((option) => option.short === word[1])
    : undefined;
}

function positionals(words: string[], options: Record<string, OptionSpec>): string[] {
  const found: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? "";
    if (!word.startsWith("-")) found.push(word);
    else if (!word.includes("=") && (optionOf(options, word)?.type ?? "boolean") !== "boolean") index++;
  }
  return found;
}

async function liveNames(kind: Completes, world: World): Promise<string[]> {
  if (kind === "shells") return [...shells];
  const { context, close } = createContext(world, { quiet: true });
  try {
    if (kind === "clusters") {
      const { detectProviders } = await import("@kws/platform/providers/detect");
      const { locations, env, home } = context;
      const found = await detectProviders({ data: locations.data, env, home, timeoutMs: 500 });
      return found.flatMap((one) => one.clusters).map((cluster) => cluster.name);
    }
    if (kind === "contexts") {
      const { kubeconfigPaths, readKubeconfig } = await import("@kws/kube/kubeconfig");
      const config = await readKubeconfig(kubeconfigPaths(undefined, world.env, world.home));
      return config.contexts.map((one) => one.name);
    }
    if (kind === "profiles") return await chartProfiles(context);
    const project = await context.findProject();
    const { services = {} } = project?.workspace ?? {};
    const written =
      kind === "stacks"
        ? (project?.stacks.map((stack) => stack.name) ?? [])
        : Array.isArray(services)
          ? []
          : Object.keys(services);
    return [...written, ...(await installedNames(kind, () => context.connect()))];
  } catch (error) {
    if (error instanceof UserError) return [];
    throw error;
  } finally {
    close();
  }
}

/** Of all charts of the workspace whose source is here. */
async function chartProfiles(context: Context): Promise<string[]> {
  const [{ loadServices }, { chartFolder }, { profileNames }] = await Promise.all([
    import("@kws/platform/project/services"),
    import("@kws/platform/charts/chart"),
    import("@kws/platform/charts/profiles"),
  ]);
  const signal = AbortSignal.timeout(500);
  try {
    const project = await context.project();
    const { locations, childEnv: env } = context;
    const services = await loadServices(project, { cache: locations.cache, env, signal, clones: "use" });
    const names = await Promise.all(
      services.map(async (service) => profileNames(await chartFolder(service))),
    );
    return names.flat();
  } catch (error) {
    if (signal.aborted) return [];
    throw error;
  }
}

/** Asked of the cluster where it answers within half a second. */
async function installedNames(
  kind: "services" | "stacks",
  connect: () => Promise<import("@kws/platform/providers/provider").Connection>,
): Promise<string[]> {
  try {
    const { listReleases } = await import("@kws/platform/services/releases");
    const { client } = await connect();
    const releases = await listReleases(client, { signal: AbortSignal.timeout(500) });
    return releases.map((release) => (kind === "stacks" ? release.stack : release.service));
  } catch {
    // A cluster that does not run has no names to offer, and a shell's line is no place to say so.
    return [];
  }
}

/** The script that a shell reads at its start. Each one calls `kws __complete -- words…`. */
export function completionScript(shell: string): string {
  switch (shell) {
    case "bash":
      return `_kws() {
  local IFS=$'\\n'
  COMPREPLY=($(kws __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _kws kws
`;
    case "zsh":
      return `#compdef kws
_kws() {
  local -a candidates
  candidates=("\${(@f)$(kws __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a candidates
}
compdef _kws kws
`;
    case "fish":
      return `function __kws_complete
    set -l words (commandline -opc) (commandline -ct)
    kws __complete -- $words[2..-1] 2>/dev/null
end
complete -c kws -f -a '(__kws_complete)'
`;
    case "powershell":
      return `Register-ArgumentCompleter -Native -CommandName kws -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
  if ($wordToComplete -eq '') { $words += '' }
  kws __complete '--' @words 2>$null | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }
}
`;
    default:
      throw new UserError(`there is no completion for "${shell}"`, {
        code: "usage",
        fix: `Use one of: ${shells.join(", ")}.`,
      });
  }
}
