/** `pipeline:` of a service's kws.yaml: what a commit goes through. packages/platform/src/pipeline makes it a graph and runs it. */
import { type Static, Type } from "typebox";
import { Argv, Datastore, Duration, Env, Name, Quantity, strict } from "./schema-parts.ts";

/** The steps that need no `run`, in the order of the default pipeline. */
export const builtins = ["check", "datastores", "build", "test", "publish", "notify", "candidate"] as const;
export type Builtin = (typeof builtins)[number];

/** One of these words. */
const Word = <T extends string>(words: readonly T[], description?: string) =>
  Type.Unsafe<T>(
    Type.Union(
      words.map((word) => Type.Literal(word)),
      description === undefined ? {} : { description },
    ),
  );

const Patterns = (description: string) =>
  Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1, description }));

export const events = ["push", "tag", "pull-request", "schedule", "manual"] as const;

const When = Type.Object(
  {
    branch: Patterns("Branches, as patterns such as `release/*`; `!` before one leaves it out."),
    tag: Patterns("Tags, as patterns such as `v*`."),
    paths: Patterns(
      "Paths below the service's folder, of which one at least has changed, as patterns such as `src/**`.",
    ),
    event: Type.Optional(
      Type.Array(Word(events), {
        minItems: 1,
        description: "What began the run.",
      }),
    ),
  },
  strict,
);

const Variable = "^[A-Za-z_][A-Za-z0-9_]*$";

export const PipelineStep = Type.Object(
  {
    name: Type.Optional(Name("The step's name; that of `uses` unless given.")),
    uses: Type.Optional(Word(builtins, "A step that kws brings, instead of `run`.")),
    run: Type.Optional(
      Type.Union([Type.String({ minLength: 1 }), Argv], {
        description: "A script for `sh -e`, or a command as a list; in the folder with the sources.",
      }),
    ),
    image: Type.Optional(
      Type.String({ minLength: 1, description: "What `run` runs in; it has `sh` and `tar`." }),
    ),
    needs: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        description: "The steps that have to end well before; the one written before unless given.",
      }),
    ),
    matrix: Type.Optional(
      Type.Record(
        Type.String({ pattern: Variable }),
        Type.Array(Type.String({ minLength: 1 }), { minItems: 1, maxItems: 50 }),
        {
          description:
            "The step runs once for each combination of these values, side by side; `${matrix.NAME}` stands for one in `run`, `image`, `env`, `artifacts` and `cache`.",
        },
      ),
    ),
    when: Type.Optional(When),
    retries: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 10,
        description: "How often it is tried again; `0` unless given.",
      }),
    ),
    timeout: Duration("How long one try may take; `30m` unless given."),
    approval: Type.Optional(
      Type.Boolean({ description: "Wait for somebody to allow it; `false` unless given." }),
    ),
    artifacts: Type.Optional(
      Type.Object(
        {
          paths: Type.Array(Type.String({ minLength: 1 }), {
            minItems: 1,
            description:
              "Files and folders below the sources; later steps that need this one find them there.",
          }),
        },
        strict,
      ),
    ),
    cache: Type.Optional(
      Type.Object(
        {
          key: Type.Array(Type.String({ minLength: 1 }), {
            minItems: 1,
            description: "The files whose content decides, such as `package-lock.json`, and words.",
          }),
          paths: Type.Array(Type.String({ minLength: 1 }), {
            minItems: 1,
            description: "Folders below the sources that are kept from run to run.",
          }),
        },
        strict,
      ),
    ),
    secrets: Type.Optional(
      Type.Array(Type.String({ pattern: Variable }), {
        description: "Names of the pipeline's `secrets` that it gets as variables.",
      }),
    ),
    outputs: Type.Optional(
      Type.Array(Type.String({ pattern: Variable }), {
        description:
          "Names that it writes as `name=value` lines to the file `$KWS_OUTPUTS`; `${steps.STEP.NAME}` stands for one in `env` of a step that needs it.",
      }),
    ),
    env: Env("Its environment, over the pipeline's; these are no secrets."),
    root: Type.Optional(
      Type.Boolean({ description: "Run as root, for images that cannot otherwise; `false` unless given." }),
    ),
    cpu: Quantity("The processor time that it may take, in cores; `2` unless given."),
    memory: Quantity("The memory that it may take; `2Gi` unless given."),
  },
  strict,
);
export type PipelineStep = Static<typeof PipelineStep>;

export const Pipeline = Type.Object(
  {
    image: Type.Optional(
      Type.String({ minLength: 1, description: "What steps run in that name no `image`." }),
    ),
    env: Env("The environment of all steps with `run`."),
    services: Type.Optional(
      Type.Record(Name("Its host name."), Datastore, {
        description:
          "Datastores for all steps, by the names under which they reach them; started by `datastores`.",
      }),
    ),
    secrets: Type.Optional(
      Type.Record(
        Type.String({ pattern: Variable }),
        Type.Object(
          {
            file: Type.String({
              minLength: 1,
              description: "The encrypted file, relative to the service's folder.",
            }),
            key: Type.String({
              minLength: 1,
              description: "Where in it the value is, such as `registry.token`.",
            }),
          },
          strict,
        ),
        { description: "What steps may ask for, from files that `kws secrets` encrypts." },
      ),
    ),
    internet: Type.Optional(
      Type.Boolean({ description: "Steps reach addresses outside of the cluster; `true` unless given." }),
    ),
    concurrency: Type.Optional(
      Word(
        ["all", "newest"],
        "On a server, `newest` ends the runs of a branch that are not its newest; `all` unless given.",
      ),
    ),
    quarantine: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        description: "Tests whose failure does not fail `test`, as `suite: name`; patterns are allowed.",
      }),
    ),
    timeout: Duration("How long a run may take; `2h` unless given."),
    steps: Type.Optional(
      Type.Array(
        Type.Unsafe<Builtin | PipelineStep>(
          Type.Union([...builtins.map((name) => Type.Literal(name)), PipelineStep]),
        ),
        {
          minItems: 1,
          description: "What is done, one after the other unless `needs` says otherwise.",
        },
      ),
    ),
  },
  {
    ...strict,
    description:
      "What `kws pipeline run` does: check, datastores, build, test, publish, notify and candidate unless `steps` says otherwise.",
  },
);
export type Pipeline = Static<typeof Pipeline>;
