import { UserError } from "@kws/base/errors";
import { expect, test } from "vitest";
import { Service } from "../project/schema.ts";
import { validate } from "../project/validate.ts";
import { parseYaml } from "../project/yaml-file.ts";
import { type Plan, planPipeline, withOutputs } from "./plan.ts";
import { isMeant, reasonToSkip, type Trigger } from "./when.ts";

const push: Trigger = { event: "push", branch: "main" };

function plan(text: string, trigger: Trigger = push): Plan {
  const file = parseYaml("kws.yaml", `name: orders\n${text}`);
  return planPipeline({ file, config: validate(file, Service, "the service") }, trigger);
}

function refusal(text: string): string {
  try {
    plan(text);
  } catch (error) {
    if (error instanceof UserError) return `${error.at}: ${error.message}`;
    throw error;
  }
  return "nothing is wrong";
}

const graph = ({ jobs }: Plan) => Object.fromEntries(jobs.map(({ id, needs }) => [id, needs]));

test("without a pipeline there is the usual one, in its order", () => {
  expect(graph(plan(""))).toEqual({
    check: [],
    datastores: ["check"],
    build: ["datastores"],
    test: ["build"],
    publish: ["test"],
    notify: ["publish"],
    candidate: ["notify"],
  });
});

test("steps follow each other unless `needs` says otherwise", () => {
  const steps = `
pipeline:
  image: node
  steps:
    - check
    - { name: unit, run: npm test }
    - { name: lint, run: [npm, run, lint], needs: [] }
    - { name: both, run: "true", needs: [unit, lint] }`;
  expect(graph(plan(steps))).toEqual({ check: [], unit: ["check"], lint: [], both: ["unit", "lint"] });
});

test("a step may need one that is written later", () => {
  const steps = `
pipeline:
  image: node
  steps: [{ name: a, run: "true", needs: [b] }, { name: b, run: "true", needs: [] }]`;
  expect(plan(steps).jobs.map(({ id }) => id)).toEqual(["b", "a"]);
});

test("a matrix is multiplied out, and what needs it needs all of it", () => {
  const { jobs } = plan(`
pipeline:
  steps:
    - name: unit
      image: "node:\${matrix.node}"
      run: [test, "\${matrix.db}", "\${matrix.other}"]
      env: { DB: "\${matrix.db}" }
      matrix: { node: ["22", "24"], db: [pg, my] }
    - { uses: publish }`);
  expect(jobs.map(({ id }) => id)).toEqual(["unit.1", "unit.2", "unit.3", "unit.4", "publish"]);
  expect(jobs[1]).toMatchObject({
    title: "unit (22, my)",
    config: { image: "node:22", run: ["test", "my", "${matrix.other}"], env: { DB: "my" } },
  });
  expect(jobs[4]?.needs).toEqual(["unit.1", "unit.2", "unit.3", "unit.4"]);
});

test("conditions are decided with the reason", () => {
  const text = `
pipeline:
  steps: [build, { uses: publish, when: { branch: [main, "release/*"], event: [push] } }, notify]`;
  const skipped = (trigger: Trigger) => plan(text, trigger).jobs.map(({ skip }) => skip);
  expect(skipped(push)).toEqual([undefined, undefined, undefined]);
  expect(skipped({ event: "push", branch: "topic" })).toEqual([
    undefined,
    "it is for the branches main, release/*, and this is topic",
    undefined,
  ]);
  expect(skipped({ event: "manual", branch: "main" })[1]).toBe("it is for push, and this is manual");
});

test.each<[Parameters<typeof reasonToSkip>[0], Trigger, boolean]>([
  [{ tag: ["v*"] }, { event: "tag", tag: "v1.0" }, true],
  [{ tag: ["v*"] }, push, false],
  [{ branch: ["main"] }, { event: "tag", tag: "v1.0" }, false],
  [{ paths: ["src/**"] }, { ...push, changed: ["src/a/b.ts"] }, true],
  [{ paths: ["src/**"] }, { ...push, changed: ["README.md"] }, false],
  [{ paths: ["!**/*.md"] }, { ...push, changed: ["README.md", "src/a.ts"] }, true],
  [{ paths: ["src/**"] }, { ...push, changed: [] }, false],
  [{ paths: ["src/**"] }, push, true],
])("%j of %j: %s", (when, trigger, expected) => {
  expect(reasonToSkip(when, trigger) === undefined).toBe(expected);
});

test("patterns leave out what begins with an exclamation mark", () => {
  expect(isMeant("release/1", ["release/*", "!release/old"])).toBe(true);
  expect(isMeant("release/old", ["release/*", "!release/old"])).toBe(false);
  expect(isMeant("topic", ["!main"])).toBe(true);
  expect(isMeant(undefined, ["!main"])).toBe(false);
});

test.each([
  ["steps: [chek]", 'kws.yaml:2:21: pipeline.steps[0] cannot be "chek"'],
  ["steps: [{ uses: build, run: x }]", "the step build has either `run` or `uses`"],
  ["steps: [{ name: a }]", "the step a has either `run` or `uses`"],
  ["services: { db: { ports: [1] } }", "the datastore db has either an `image` or a `service`"],
  ["steps: [build, build]", "two steps are called build"],
  ["steps: [{ name: a, run: x }]", "it is not said in which image a runs"],
  ["steps: [build, { uses: test, needs: [biuld] }]", 'test needs "biuld", and there is no such step'],
  [
    "steps: [{ uses: build, needs: [test] }, { uses: test, needs: [build] }]",
    "steps need each other in a cycle: build → test → build",
  ],
  [
    "steps: [{ uses: build, env: { A: b } }]",
    "`env` is for steps with `run`, and build is the built-in build",
  ],
  ["steps: [{ name: a, image: i, run: x, artifacts: { paths: [../up] } }]", "../up leads out of the sources"],
  ["steps: [{ name: a, image: i, run: x, retries: 99 }]", "must be a whole number from 0 to 10, not 99"],
  ["steps: [{ name: a, image: i, run: x, approval: yes please }]", "must be true or false"],
  [
    'steps: [{ name: a, image: i, run: x, needs: [] }, { name: b, image: i, run: x, env: { V: "${steps.a.v}" } }]',
    "a has no output v",
  ],
  [
    'steps: [{ name: a, image: i, run: x, outputs: [v] }, { name: b, image: i, needs: [], run: x, env: { V: "${steps.a.v}" } }]',
    "${steps.a.v} is of a step that b does not need",
  ],
])("refuses pipeline: { %s }", (steps, message) => {
  const said = refusal(`pipeline: { ${steps} }`);
  expect(said).toMatch(/^kws\.yaml:2:\d+: /);
  expect(said).toContain(message);
});

test("outputs of earlier steps stand in the environment, and nowhere else", () => {
  expect(
    withOutputs({ A: "v${steps.a.version}!", B: "${steps.b.none}" }, new Map([["a", { version: "1" }]])),
  ).toEqual({ A: "v1!", B: "" });
});
