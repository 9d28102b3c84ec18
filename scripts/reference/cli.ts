/** docs/reference/cli.md: every command, from the definitions that help and completion come from. */
import { globalOptions, type Command, type OptionSpec, variableOf } from "../../packages/cli/src/command.ts";
import { commands, groups } from "../../packages/cli/src/commands.ts";
import { table } from "./markdown.ts";

export async function cliReference(): Promise<string> {
  const loaded = await Promise.all(
    Object.entries(commands).map(async ([path, load]) => ({ path, command: (await load()).command })),
  );
  const sections = loaded.map(({ path, command }) => section(path, command));
  return `${[
    "# Commands",
    "<!-- Made by `npm run reference` from packages/cli/src/commands; edits are lost. -->",
    "The same text, without the tables, is printed by `kws COMMAND --help`. What options, variables and exit codes have in common stands in [configuration](../guide/configuration.md).",
    table(
      ["command", "what it does"],
      loaded.map(({ path, command }) => [
        `[\`kws ${path}\`](#kws-${path.replaceAll(" ", "-")})`,
        command.summary,
      ]),
    ),
    table(
      ["words", "stand for"],
      Object.entries(groups).map(([group, meaning]) => [`\`kws ${group}\``, meaning]),
    ),
    "## Options of every command",
    options(globalOptions),
    ...sections,
  ].join("\n\n")}\n`;
}

function section(path: string, command: Command): string {
  const parts = [
    `## kws ${path}`,
    command.description ?? `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`,
  ];
  parts.push(`\`\`\`\n${usage(path, command)}\n\`\`\``);
  if (command.args.length > 0) {
    parts.push(
      table(
        ["argument", "meaning"],
        command.args.map((argument) => [`\`${argument.name}\``, argument.description]),
      ),
    );
  }
  if (Object.keys(command.options).length > 0) parts.push(options(command.options));
  parts.push(`\`\`\`sh\n${command.examples.join("\n")}\n\`\`\``);
  return parts.join("\n\n");
}

function usage(path: string, command: Command): string {
  const words = command.args.map(({ name, required, variadic }) => {
    const shown = variadic === true ? `${name}...` : name;
    return required === true ? `<${shown}>` : `[${shown}]`;
  });
  return [`kws ${path}`, "[options]", ...words].join(" ");
}

function options(all: Record<string, OptionSpec>): string {
  return table(
    ["option", "variable", "meaning"],
    Object.entries(all).map(([name, spec]) => {
      const long = spec.type === "boolean" ? `--${name}` : `--${name} <${spec.value}>`;
      const choices =
        spec.type === "string" && spec.choices !== undefined ? ` (${spec.choices.join(", ")})` : "";
      const flag = spec.short === undefined ? long : `-${spec.short}, ${long}`;
      return [`\`${flag}\``, `\`${variableOf(name)}\``, `${spec.description}${choices}`];
    }),
  );
}
