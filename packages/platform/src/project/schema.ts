/**
 * kws.yaml: the one definition that gives the types, the validation and the JSON Schema for editors. A file with
 * `services` or `stacks` is a workspace's, any other a service's.
 */
import { type Static, Type } from "typebox";
import { Pipeline } from "./pipeline-schema.ts";
import { type ProviderName, providerNames, runtimeNames, type RuntimeName } from "./provider-names.ts";
import { Argv, Datastore, Duration, Env, Name, Quantity, strict } from "./schema-parts.ts";

const Tags = Type.Optional(
  Type.Array(Name("A word that `--tag` chooses services by."), {
    description: "Words that `--tag` chooses services by, such as `backend`.",
  }),
);
const version = "The version of its package, or a range such as `^1.4`";

/** What any entry of a workspace's services may say. */
const entry = {
  chart: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        "Where its packaged chart is: `oci://host/path/name`, or `https://host/path/name` in a classic Helm repository; " +
        "among the workspace's own packages unless given.",
    }),
  ),
  tags: Tags,
};
const pinned = {
  ...entry,
  version: Type.Optional(
    Type.String({ minLength: 1, description: `${version}, for --prod; the newest unless given.` }),
  ),
};

export const LocalSource = Type.Object(
  {
    path: Type.String({ minLength: 1, description: "The service's folder, relative to this file." }),
    ...pinned,
    root: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          "The folder, relative to this file, that its image may be built from; the service's own unless given.",
      }),
    ),
  },
  strict,
);

export const GitSource = Type.Object(
  {
    git: Type.String({ minLength: 1, description: "Where to clone from." }),
    ref: Type.String({ minLength: 1, description: "The pin: a commit, a tag or a branch." }),
    path: Type.Optional(Type.String({ description: "The service's folder inside the repository." })),
    ...pinned,
  },
  strict,
);

/** Refers to a service, or to an object of the cluster. */
export const Condition = Type.Object(
  {
    resource: Type.String({
      minLength: 1,
      description:
        "An object of the cluster as `plural.group/name`, such as `kafkas.kafka.example.com/main`; in the stack's namespace.",
    }),
    condition: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The condition that must be True; the object's own readiness unless given.",
      }),
    ),
  },
  strict,
);
export type Condition = Static<typeof Condition>;

const DependsOn = Type.Optional(
  Type.Array(Type.Union([Type.String(), Condition]), {
    description: "Services that must be ready first, and objects of the cluster that must be in a condition.",
  }),
);

/** A service that comes packaged alone. */
export const PackagedSource = Type.Object(
  {
    version: Type.String({ minLength: 1, description: `${version}.` }),
    ...entry,
    dependsOn: DependsOn,
  },
  strict,
);

export const Remote = Type.Object(
  {
    context: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The kubeconfig context of the cluster that has them; it must be in `allowContexts`.",
      }),
    ),
    namespace: Type.Optional(
      Name("The namespace that they are in there; that of the stack here unless given."),
    ),
    services: Type.Optional(
      Type.Array(Type.String(), { description: "The services of the stack that are used from there." }),
    ),
    except: Type.Optional(
      Type.Array(Type.String(), {
        description: "Instead of `services`: all of the stack are used from there but these.",
      }),
    ),
    image: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          "The image, with Node 22 or later, of the pod that passes connections on; `node:24-alpine` unless given or the cluster has one.",
      }),
    ),
  },
  {
    ...strict,
    description: "Services of the stack that are used from another cluster instead of being started.",
  },
);
export type Remote = Static<typeof Remote>;

export const Stack = Type.Object(
  {
    services: Type.Optional(
      Type.Array(Type.String(), {
        description: "The services of the stack; all of the workspace unless given.",
      }),
    ),
    namespace: Type.Optional(Name("The namespace to install into; the stack's name unless given.")),
    profile: Type.Optional(Name("The chart profile to install with; `local` unless given.")),
    remote: Type.Optional(Remote),
  },
  strict,
);
export type Stack = Static<typeof Stack>;

/** A host, a port perhaps, and a path of repositories' names. */
export const registryPattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$";

const Registry = Type.Optional(
  Type.String({
    pattern: registryPattern,
    description: "Where packages are published: `host/path` of an OCI registry.",
  }),
);

const literals = <const T extends string>(values: readonly T[], description: string) =>
  Type.Union(
    values.map((value) => Type.Literal(value)),
    { description },
  );

export const ClusterSettings = Type.Object(
  {
    provider: Type.Optional(
      Type.Unsafe<ProviderName>(literals(providerNames, "What gives the cluster; `embedded` unless given.")),
    ),
    name: Type.Optional(
      Name(
        "The cluster's name: of embedded clusters `default` unless given, of those of k3d, kind and minikube `kws`.",
      ),
    ),
    ingressPort: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description:
          "Where the embedded cluster, and one that k3d makes, serve Ingress hosts; 8080 or the next free port unless given.",
      }),
    ),
    runtime: Type.Optional(
      Type.Unsafe<RuntimeName>(
        literals(
          runtimeNames,
          "What runs the embedded cluster's containers: `sandbox`, the default on Linux, or `docker`, a Docker Engine of this machine.",
        ),
      ),
    ),
    builder: Type.Optional(
      Type.Unsafe<"embedded" | "docker" | "buildah">(
        literals(
          ["embedded", "docker", "buildah"],
          "What builds images for clusters of tools: the sandbox of kws, which needs Linux, Docker Engine or buildah; without Linux `docker` unless given.",
        ),
      ),
    ),
    context: Type.Optional(
      Type.String({ description: "The kubeconfig context; implies the provider kubeconfig." }),
    ),
    allowContexts: Type.Optional(
      Type.Array(Type.String(), { description: "The kubeconfig contexts that kws may change." }),
    ),
  },
  strict,
);
export type ClusterSettings = Static<typeof ClusterSettings>;

/** Values of options, by their flags' names, for every command that has the option. */
export const Defaults = Type.Object(
  {
    output: Type.Optional(literals(["table", "json", "yaml"], "How results are printed.")),
    quiet: Type.Optional(Type.Boolean({ description: "No progress on standard error." })),
    "log-level": Type.Optional(literals(["debug", "info", "warn", "error"], "What is logged.")),
    "no-color": Type.Optional(Type.Boolean({ description: "No colours." })),
    timeout: Type.Optional(
      Type.String({
        pattern: "^(\\d+(\\.\\d+)?(ms|[smhdw]))+$",
        description: "How long one service may take, such as `10m`.",
      }),
    ),
    tail: Type.Optional(Type.Integer({ minimum: 0, description: "Log lines of each container." })),
  },
  strict,
);

export const Workspace = Type.Object(
  {
    $schema: Type.Optional(Type.String()),
    name: Type.Optional(Name("The workspace's name; its folder's unless given.")),
    services: Type.Optional(
      Type.Union(
        [
          Type.Array(Type.String({ minLength: 1 }), {
            description: "Folders, or patterns like ./services/*, that hold a kws.yaml each.",
          }),
          Type.Record(Type.String(), Type.Union([LocalSource, GitSource, PackagedSource])),
        ],
        { description: "Where the services are." },
      ),
    ),
    stacks: Type.Optional(Type.Record(Type.String(), Stack, { description: "Services installed together." })),
    cluster: Type.Optional(ClusterSettings),
    registry: Registry,
    defaults: Type.Optional(Defaults),
  },
  strict,
);
export type Workspace = Static<typeof Workspace>;

export const Prepare = Type.Union([
  Argv,
  Type.Object({ run: Argv, inputs: Type.Optional(Type.Array(Type.String({ minLength: 1 }))) }, strict),
]);

export const Build = Type.Object(
  {
    builder: Type.Optional(
      Type.Union([Type.Literal("dockerfile"), Type.Literal("node")], {
        description: "`dockerfile` where there is a Dockerfile, else `node`.",
      }),
    ),
    context: Type.Optional(
      Type.String({ description: "The folder that COPY reads from; the service's unless given." }),
    ),
    dockerfile: Type.Optional(
      Type.String({ description: "Relative to the service's folder; `Dockerfile` unless given." }),
    ),
    target: Type.Optional(Type.String({ description: "The stage to build." })),
    args: Type.Optional(Type.Record(Type.String(), Type.String(), { description: "Values of ARG." })),
    prepare: Type.Optional(Prepare),
  },
  strict,
);
export type Build = Static<typeof Build>;

export const DevRule = Type.Object(
  {
    path: Type.String({
      minLength: 1,
      description: "Which files, as a pattern below the service's folder, such as `src/**`.",
    }),
    action: Type.Union(
      [Type.Literal("sync"), Type.Literal("restart"), Type.Literal("run"), Type.Literal("rebuild")],
      {
        description:
          "After the files have arrived: nothing more, start the process again, run a command in the container and then start " +
          "the process again, or build the image and replace the container.",
      },
    ),
    run: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        minItems: 1,
        description: "The command of the action `run`.",
      }),
    ),
  },
  strict,
);
export type DevRule = Static<typeof DevRule>;

export const DebugLanguage = Type.Union(
  [
    Type.Literal("node"),
    Type.Literal("python"),
    Type.Literal("jvm"),
    Type.Literal("go"),
    Type.Literal("dotnet"),
  ],
  { description: "Whose debugger it is; by the command and the folder unless given." },
);
export type DebugLanguage = Static<typeof DebugLanguage>;

export const Debug = Type.Object(
  {
    language: Type.Optional(DebugLanguage),
    command: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        minItems: 1,
        description:
          "What runs with `--debug`, where the command cannot be put under its debugger by itself.",
      }),
    ),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65535,
        description:
          "What the debugger listens on in the container; the usual one of the language unless given.",
      }),
    ),
  },
  { ...strict, description: "How `kws service up --debug` starts the service." },
);

export const Dev = Type.Object(
  {
    image: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The dev container's image; the service's own unless given.",
      }),
    ),
    target: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The stage of the Dockerfile to build as the dev container's image.",
      }),
    ),
    source: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          "The folder that is brought to the container, from the service's folder; that folder itself unless given. It has to be within the service's root.",
      }),
    ),
    workload: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The Deployment or StatefulSet to replace, where the service has several.",
      }),
    ),
    container: Type.Optional(
      Type.String({
        minLength: 1,
        description: "The container to replace; the one with the service's image.",
      }),
    ),
    command: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        minItems: 1,
        description: "What runs in the dev container; by what is in the folder unless given.",
      }),
    ),
    workdir: Type.Optional(
      Type.String({
        pattern: "^/",
        description: "Where the sources are in the container; the image's working directory unless given.",
      }),
    ),
    debug: Type.Optional(Debug),
    keep: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        description: "Folders below the working directory that stay as they are in the image.",
      }),
    ),
    ignore: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), {
        description: "Files that are not watched and not synced, as .gitignore names them.",
      }),
    ),
    rules: Type.Optional(
      Type.Array(DevRule, {
        description: "What happens when a file changes; the first rule that fits its path decides.",
      }),
    ),
  },
  strict,
);
export type Dev = Static<typeof Dev>;

const testLevel = {
  run: Type.Array(Type.String({ minLength: 1 }), {
    minItems: 1,
    description: "The command, in the image's working directory; its exit code decides.",
  }),
  image: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        "The image that holds the tests, or which of the service's `images`; the service's own unless given.",
    }),
  ),
  target: Type.Optional(
    Type.String({ minLength: 1, description: "The stage of the Dockerfile to build as the tests' image." }),
  ),
  reports: Type.Optional(
    Type.String({
      pattern: "^/.*[^/]$",
      description:
        "The folder in the container that the tests write JUnit XML and other files to, empty at first; `/reports` unless given.",
    }),
  ),
  secrets: Type.Optional(
    Type.Array(Type.String({ pattern: "^[a-zA-Z_][a-zA-Z0-9_]*$" }), {
      uniqueItems: true,
      description:
        "Variables of the tests and of their datastores that get a password made for each run. In `env` of both, `$(NAME)` stands for it.",
    }),
  ),
  env: Env("The tests' environment."),
  timeout: Duration("How long the tests may take; `10m` unless given."),
  cpu: Quantity("The processor time that they may take, in cores; `2` unless given."),
  memory: Quantity("The memory that they may take; `1Gi` unless given."),
  datastores: Type.Optional(
    Type.Record(Name("Its host name."), Datastore, {
      description: "What is started for the tests alone, by the names under which they reach it.",
    }),
  ),
};

export const UnitTests = Type.Object(testLevel, strict);
export const FunctionalTests = Type.Object(
  {
    ...testLevel,
    profile: Type.Optional(
      Name(
        "The charts' profile that the service and its dependencies are installed with; `local` unless given.",
      ),
    ),
  },
  strict,
);
export type FunctionalTests = Static<typeof FunctionalTests>;

export type { Datastore } from "./schema-parts.ts";

export const Credential = Type.Object(
  {
    key: Type.String({
      minLength: 1,
      description: "The value that the service accepts, such as `secrets.API_TOKEN`.",
    }),
    next: Type.String({
      minLength: 1,
      description: "A second value that it accepts too, while the credential is rotated.",
    }),
    clients: Type.Record(Type.String(), Type.String({ minLength: 1 }), {
      description: "The services that send it, and the key of each one's values that has it.",
    }),
  },
  strict,
);

export const Service = Type.Object(
  {
    $schema: Type.Optional(Type.String()),
    name: Name("The service's name: its release, its images and its address."),
    build: Type.Optional(Build),
    images: Type.Optional(
      Type.Record(Type.String(), Build, {
        description: "Several images, by the key of their values: `<key>.image`.",
      }),
    ),
    chart: Type.Optional(Type.String({ description: "The Helm chart's folder; `./chart` unless given." })),
    dependsOn: DependsOn,
    tags: Tags,
    dev: Type.Optional(Dev),
    tests: Type.Optional(
      Type.Object(
        {
          unit: Type.Optional(UnitTests),
          functional: Type.Optional(FunctionalTests),
        },
        {
          ...strict,
          description:
            "What `kws service test` runs: unit tests in the image, and functional tests beside the installed service.",
        },
      ),
    ),
    pipeline: Type.Optional(Pipeline),
    credentials: Type.Optional(
      Type.Record(Type.String(), Credential, {
        description:
          "What clients identify themselves with, for `kws secrets rollout`. All keys are those of charts' values.",
      }),
    ),
    open: Type.Optional(
      Type.Object(
        {
          host: Type.Optional(
            Type.String({ description: "The Ingress host; `<service>.<stack>.localhost` unless given." }),
          ),
          path: Type.Optional(Type.String({ pattern: "^/", description: "The page that `kws open` shows." })),
        },
        strict,
      ),
    ),
  },
  strict,
);
export type Service = Static<typeof Service>;

/** kws.local.yaml. */
export const Local = Type.Object(
  {
    $schema: Type.Optional(Type.String()),
    links: Type.Optional(
      Type.Record(Type.String(), Type.String({ minLength: 1 }), {
        description:
          "The folders, relative to this file, that services are taken from instead of where kws.yaml says.",
      }),
    ),
    useClones: Type.Optional(
      Type.Boolean({
        description:
          "Take services in git from clones that lie beside the workspace, where there are such; `false` unless given.",
      }),
    ),
    cluster: Type.Optional(ClusterSettings),
    stacks: Type.Optional(
      Type.Record(Type.String(), Type.Object({ remote: Type.Optional(Remote) }, strict), {
        description: "By the names of the workspace's stacks: keys that count before those of kws.yaml.",
      }),
    ),
    defaults: Type.Optional(Defaults),
  },
  { ...strict, description: "What one person sets differently in a workspace; not for others." },
);
export type Local = Static<typeof Local>;

export const UserConfig = Type.Object(
  {
    cluster: Type.Optional(ClusterSettings),
    registry: Registry,
    defaults: Type.Optional(Defaults),
    $schema: Type.Optional(Type.String()),
  },
  strict,
);
export type UserConfig = Static<typeof UserConfig>;

/** The JSON Schema that editors use for any kws.yaml; docs/reference/kws.schema.json holds it. */
export function jsonSchema(): object {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "kws.yaml",
    description: "A kws workspace (with services or stacks) or a kws service.",
    if: { anyOf: [{ required: ["services"] }, { required: ["stacks"] }] },
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    then: { $ref: "#/$defs/Workspace" },
    else: { $ref: "#/$defs/Service" },
    $defs: { Workspace, Service, Local },
  };
}
