/** What happens when files change: the rules of kws.yaml, applied to a batch of paths. */
import { matchesGlob } from "node:path";
import { UserError } from "@kws/base/errors";
import type { DevRule } from "../project/schema.ts";
import type { ProjectService } from "../project/workspace.ts";

export interface Reaction {
  /** The most that any of the files asks for. */
  action: DevRule["action"];
  /** The commands to run first, in the order of the rules. */
  commands: string[][];
}

const strength: DevRule["action"][] = ["sync", "restart", "run", "rebuild"];

/** The first rule that fits a path decides for it; a path that none fits is only synchronised. */
export function react(rules: DevRule[], paths: string[]): Reaction {
  const chosen = new Set<DevRule>();
  for (const path of paths) {
    const rule = rules.find((candidate) => fits(candidate.path, path));
    if (rule !== undefined) chosen.add(rule);
  }
  const ordered = rules.filter((rule) => chosen.has(rule));
  const strongest = Math.max(0, ...ordered.map(({ action }) => strength.indexOf(action)));
  return {
    action: strength[strongest] ?? "sync",
    commands: ordered.flatMap(({ action, run }) => (action === "run" && run !== undefined ? [run] : [])),
  };
}

/** `**` of a pattern stands for names that begin with a dot too, such as `.env`. */
function fits(pattern: string, path: string): boolean {
  const plain = pattern.replace(/^\.?\//, "");
  return matchesGlob(path, plain) || matchesGlob(path.replaceAll(/(^|\/)\./g, "$1"), plain);
}

/** Throws for a rule that cannot do what it says. */
export function checkRules({ name, config, file }: ProjectService): void {
  for (const [index, { action, run }] of (config.dev?.rules ?? []).entries()) {
    const keys = ["dev", "rules", index];
    const builds =
      (config.build !== undefined || config.images !== undefined) && config.dev?.image === undefined;
    if (action === "rebuild" && !builds) {
      throw new UserError(`the rule says to build the image, and ${name} has no image to build`, {
        code: "config",
        at: file.at([...keys, "action"]),
        fix: "Add `build` to the service, and leave out `dev.image`.",
      });
    }
    if (action === "run" && run === undefined) {
      throw new UserError("the rule says to run a command, and names none", {
        code: "config",
        at: file.at(keys),
        fix: "Add `run`, such as `run: [npm, ci]`.",
      });
    }
    if (action !== "run" && run !== undefined) {
      throw new UserError(`the rule has a command, and its action is "${action}"`, {
        code: "config",
        at: file.at([...keys, "run"], true),
        fix: "Make the action `run`.",
      });
    }
  }
}
