/**
 * The Common Expression Language as Kubernetes extends it (https://kubernetes.io/docs/reference/using-api/cel/): compiling and
 * evaluating. To be loaded by `import()` where an expression is met, since most clusters have none. Left out: upstream's
 * estimates and budgets of cost; an expression is ended after a time instead.
 */
import { createContext, Script } from "node:vm";
import { Environment, type ParseResult, type TypeCheckResult } from "@marcbachmann/cel-js";
import { addAuthorizer } from "./authorizer.ts";
import { addFunctions } from "./functions.ts";
import { addKubernetesTypes } from "./library.ts";

export interface Expression {
  /** Throws an `Error` where there is no result, such as for a field that is not there. */
  evaluate(variables: Record<string, unknown>): unknown;
}

/** Says in upstream's words, and where, why a text is no expression. */
export class CompileError extends Error {
  override name = "CompileError";
}

/** An environment in which nothing but the functions is known; callers add variables, and types of theirs. */
export function environment(variables: Record<string, string> = {}): Environment {
  const own = shared.clone();
  for (const [name, type] of Object.entries(variables)) own.registerVariable(name, type);
  return own;
}

/** `result` is the type that the expression has to have, unless it is only known when it is evaluated. */
export function compile(within: Environment, text: string, result?: string): Expression {
  const program = parse(within, text);
  const checked = program.check();
  if (!checked.valid) throw new CompileError(`compilation failed: ${problem(text, checked.error)}`);
  if (result !== undefined && checked.type !== result && checked.type !== "dyn") {
    throw new CompileError(`must evaluate to ${result}`);
  }
  return { evaluate: (variables) => withinTime((): unknown => program(variables)) };
}

/** What is wrong with the types of an expression, as `ERROR: <input>:1:2: …`; undefined where nothing is. */
export function typeProblem(within: Environment, text: string): string | undefined {
  const checked = parse(within, text).check();
  return checked.valid ? undefined : problem(text, checked.error);
}

/** What makes an evaluation fail, without the library's picture of the place. */
export function evaluationProblem(error: unknown): string {
  const { code, summary, message } = error as { code?: string; summary?: string; message: string };
  if (code === "ERR_SCRIPT_EXECUTION_TIMEOUT") return "it takes too long";
  if (code === "no_such_key") return (summary ?? message).replace("No such key", "no such key");
  return summary ?? message;
}

const shared = base();

function base(): Environment {
  const made = new Environment({ enableOptionalTypes: true, homogeneousAggregateLiterals: false });
  addFunctions(made);
  addKubernetesTypes(made);
  addAuthorizer(made);
  return made;
}

function parse(within: Environment, text: string): ParseResult {
  try {
    return within.parse(text);
  } catch (error) {
    throw new CompileError(
      `compilation failed: ${problem(text, error as TypeCheckResult["error"], "Syntax error: ")}`,
    );
  }
}

function problem(text: string, error: TypeCheckResult["error"], prefix = ""): string {
  const start = error?.range?.start ?? 0;
  const before = text.slice(0, start).split("\n");
  const line = text.split("\n")[before.length - 1] ?? "";
  const column = before.at(-1)?.length ?? 0;
  const words = prefix + upstreamWords(error?.code ?? "", error?.summary ?? "");
  return `ERROR: <input>:${before.length}:${column + 1}: ${words}\n | ${line}\n | ${".".repeat(column)}^`;
}

function upstreamWords(code: string, summary: string): string {
  const subject = summary.slice(summary.indexOf(": ") + 2);
  if (code === "no_such_key") return `undefined field '${subject}'`;
  if (code === "unknown_variable") return `undeclared reference to '${subject}' (in container '')`;
  const operation = /^(?<left>.+) (?<operator>[-+*/%<>=!]+|in) (?<right>.+)$/.exec(subject)?.groups;
  if (code !== "no_such_overload" || operation === undefined) return summary;
  const { left, operator, right } = operation;
  const name = operator === "in" ? "@in" : `_${operator}_`;
  return `found no matching overload for '${name}' applied to '(${left}, ${right})'`;
}

const timeoutMs = 1000;
const script = new Script("work()");
const sandbox = createContext({});
let isTimed = false;

/** Expressions are users': none may hold up the server, by loops or by patterns. Throws where the time is up. */
export function withinTime<T>(work: () => T): T {
  if (isTimed) return work();
  isTimed = true;
  try {
    Object.assign(sandbox, { work });
    return script.runInContext(sandbox, { timeout: timeoutMs }) as T;
  } finally {
    isTimed = false;
    Object.assign(sandbox, { work: undefined });
  }
}
