/**
 * A pipeline made into the graph of what a run does: steps with their names, the matrix multiplied out, conditions decided. Pure:
 * the same kws.yaml and the same trigger give the same plan, on a laptop and on a server.
 */
import { UserError } from "@kws/base/errors";
import { findCycle } from "../project/graph.ts";
import { suggest } from "../project/nearest.ts";
import { type Builtin, builtins, type Pipeline, type PipelineStep } from "../project/pipeline-schema.ts";
import type { YamlFile } from "../project/yaml-file.ts";
import { reasonToSkip, type Trigger } from "./when.ts";

/** One step, in one combination of its matrix. */
export interface Job {
  /** The step's name, and for a matrix its place: `lint.2`. Fit for names of Kubernetes objects. */
  id: string;
  /** For people: `lint (22, alpine)`. */
  title: string;
  step: string;
  uses?: Builtin;
  /** What kws.yaml says of it, with the matrix' values filled in. */
  config: PipelineStep;
  /** Ids of the jobs that end before. */
  needs: string[];
  /** Why it is not for this run. */
  skip?: string;
  /** Where kws.yaml speaks of it. */
  at: string;
}

export interface Plan {
  pipeline: Pipeline;
  /** In the order of kws.yaml: none needs a later one. */
  jobs: Job[];
}

/** Of the service's kws.yaml. */
export interface PipelineSource {
  file: YamlFile;
  config: { pipeline?: Pipeline };
}

interface Step {
  name: string;
  config: PipelineStep;
  needs: string[];
  keys: (string | number)[];
}

const largestMatrix = 100;

/** Throws `config` for references to what is not there, for cycles, and for what the schema cannot say. */
export function planPipeline({ file, config }: PipelineSource, trigger: Trigger): Plan {
  const pipeline = config.pipeline ?? {};
  const steps = readSteps(pipeline);
  check(steps, pipeline, file);
  const jobs: Job[] = [];
  const idsOf = new Map<string, string[]>();
  for (const step of inOrder(steps)) {
    const combinations = combine(step.config.matrix ?? {});
    const at = file.at(step.keys);
    if (combinations.length > largestMatrix) {
      throw fault(
        file,
        [...step.keys, "matrix"],
        `the matrix of ${step.name} has ${combinations.length} combinations`,
        {
          fix: `Keep them to ${largestMatrix}.`,
        },
      );
    }
    const skip = reasonToSkip(step.config.when, trigger);
    const needs = step.needs.flatMap((name) => idsOf.get(name) ?? []);
    const ids: string[] = [];
    for (const [index, values] of combinations.entries()) {
      const matrix = Object.values(values);
      const id = matrix.length === 0 ? step.name : `${step.name}.${index + 1}`;
      ids.push(id);
      jobs.push({
        id,
        title: matrix.length === 0 ? step.name : `${step.name} (${matrix.join(", ")})`,
        step: step.name,
        ...(step.config.uses === undefined ? {} : { uses: step.config.uses }),
        config: fill(step.config, values),
        needs,
        ...(skip === undefined ? {} : { skip }),
        at,
      });
    }
    idsOf.set(step.name, ids);
  }
  return { pipeline, jobs };
}

function readSteps({ steps = [...builtins] }: Pipeline): Step[] {
  let before: string | undefined;
  return steps.map((step, index) => {
    const config: PipelineStep = typeof step === "string" ? { uses: step } : step;
    const name = config.name ?? config.uses ?? `step-${index + 1}`;
    const needs = config.needs ?? (before === undefined ? [] : [before]);
    before = name;
    return { name, config, needs, keys: ["pipeline", "steps", index] };
  });
}

/** Those that others need come first; otherwise as they are written. */
function inOrder(steps: Step[]): Step[] {
  const done = new Set<string>();
  const left = [...steps];
  const ordered: Step[] = [];
  while (left.length > 0) {
    const index = left.findIndex(({ needs }) => needs.every((name) => done.has(name)));
    const [next] = left.splice(index, 1);
    if (next === undefined) break;
    done.add(next.name);
    ordered.push(next);
  }
  return ordered;
}

function check(steps: Step[], pipeline: Pipeline, file: YamlFile): void {
  const names = steps.map(({ name }) => name);
  for (const [index, step] of steps.entries()) {
    const { name, config, keys } = step;
    const wrong = (key: string, message: string, fix: string) =>
      fault(file, [...keys, key], message, { fix });
    if (names.indexOf(name) !== index) {
      throw fault(file, keys, `two steps are called ${name}`, { fix: "Give one of them another `name`." });
    }
    if ((config.run === undefined) === (config.uses === undefined)) {
      throw fault(file, keys, `the step ${name} has either \`run\` or \`uses\``, {
        fix: "Give one of them.",
      });
    }
    if (config.run !== undefined && (config.image ?? pipeline.image) === undefined) {
      throw fault(file, keys, `it is not said in which image ${name} runs`, {
        fix: "Give it an `image`, or the pipeline one for all its steps.",
      });
    }
    for (const need of config.needs ?? []) {
      if (names.includes(need)) continue;
      throw wrong(
        "needs",
        `${name} needs "${need}", and there is no such step`,
        suggest(need, names, "Add it to the steps."),
      );
    }
    if (config.uses !== undefined) {
      const key = [
        "matrix",
        "image",
        "artifacts",
        "cache",
        "secrets",
        "outputs",
        "env",
        "root",
        "cpu",
        "memory",
      ].find((one) => one in config);
      if (key !== undefined) {
        throw wrong(
          key,
          `\`${key}\` is for steps with \`run\`, and ${name} is the built-in ${config.uses}`,
          "Remove it.",
        );
      }
    }
    for (const path of [...(config.artifacts?.paths ?? []), ...(config.cache?.paths ?? [])]) {
      if (!path.startsWith("/") && !path.split("/").includes("..")) continue;
      throw wrong(
        config.artifacts?.paths.includes(path) === true ? "artifacts" : "cache",
        `${path} leads out of the sources`,
        "Name a path below them.",
      );
    }
  }
  for (const [name, { image, service }] of Object.entries(pipeline.services ?? {})) {
    if ((image === undefined) !== (service === undefined)) continue;
    throw fault(
      file,
      ["pipeline", "services", name],
      `the datastore ${name} has either an \`image\` or a \`service\``,
      {
        fix: "Give one of them.",
      },
    );
  }
  const cycle = findCycle(new Map(steps.map(({ name, needs }) => [name, { name, dependsOn: needs }])));
  if (cycle !== undefined) {
    const keys = steps.find(({ name }) => name === cycle[0])?.keys ?? [];
    throw fault(file, keys, `steps need each other in a cycle: ${cycle.join(" → ")}`, {
      fix: "Remove one of these from `needs`.",
    });
  }
  for (const step of steps) checkReferences(step, steps, file);
}

/** Outputs are of steps that end before, and only what a step says it gives. */
function checkReferences({ name, config, keys }: Step, steps: Step[], file: YamlFile): void {
  const before = ancestors(name, steps);
  for (const [variable, value] of Object.entries(config.env ?? {})) {
    for (const [whole, step = "", output = ""] of value.matchAll(stepReference)) {
      const of = steps.find((one) => one.name === step);
      const at = [...keys, "env", variable];
      if (of === undefined || !before.has(step)) {
        throw fault(file, at, `${whole} is of a step that ${name} does not need`, {
          fix: `Add ${step} to its \`needs\`.`,
        });
      }
      if (of.config.outputs?.includes(output) === true && of.config.matrix === undefined) continue;
      throw fault(file, at, `${step} has no output ${output}`, {
        fix: `Name it under \`outputs\` of ${step}, which has no \`matrix\`.`,
      });
    }
  }
}

/** All that a step needs, also through others. */
function ancestors(name: string, steps: Step[]): Set<string> {
  const found = new Set<string>();
  const visit = (one: string) => {
    for (const need of steps.find((step) => step.name === one)?.needs ?? []) {
      if (found.has(need)) continue;
      found.add(need);
      visit(need);
    }
  };
  visit(name);
  return found;
}

function fault(
  file: YamlFile,
  keys: (string | number)[],
  message: string,
  { fix }: { fix: string },
): UserError {
  return new UserError(message, { code: "config", at: file.at(keys), fix });
}

function combine(matrix: Record<string, string[]>): Record<string, string>[] {
  return Object.entries(matrix).reduce<Record<string, string>[]>(
    (all, [key, values]) => all.flatMap((one) => values.map((value) => ({ ...one, [key]: value }))),
    [{}],
  );
}

const stepReference = /\$\{steps\.([-a-z0-9]+)\.([A-Za-z_][A-Za-z0-9_]*)\}/g;

/** `${matrix.NAME}` in all texts but names. */
function fill(config: PipelineStep, values: Record<string, string>): PipelineStep {
  if (Object.keys(values).length === 0) return config;
  const inText = (text: string) =>
    text.replaceAll(/\$\{matrix\.([A-Za-z_][A-Za-z0-9_]*)\}/g, (whole, key: string) => values[key] ?? whole);
  const within = <T>(value: T): T => {
    if (typeof value === "string") return inText(value) as T;
    if (Array.isArray(value)) return value.map(within) as T;
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, within(inner)])) as T;
  };
  const { run, image, env, artifacts, cache } = config;
  return { ...config, ...within({ run, image, env, artifacts, cache }) };
}

/** The environment with outputs of earlier steps in place of `${steps.STEP.NAME}`; one that a step did not give is empty. */
export function withOutputs(
  env: Record<string, string>,
  outputs: Map<string, Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).map(([key, value]) => [
      key,
      value.replaceAll(
        stepReference,
        (_whole, step: string, name: string) => outputs.get(step)?.[name] ?? "",
      ),
    ]),
  );
}
