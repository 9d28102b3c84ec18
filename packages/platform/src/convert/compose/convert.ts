/** A Compose project made into a workspace: a chart and a `kws.yaml` for each service, and one for all. */
import { existsSync, statSync } from "node:fs";
import { isAbsolute, join, relative } from "node:path";
import { defaultsOf } from "../../dev/defaults.ts";
import { fileName, toName } from "../../project/workspace.ts";
import type { Conversion, PlannedSecrets } from "../plan.ts";
import { yamlText } from "../templates.ts";
import { checkKeys } from "./check.ts";
import { chartOf, type ServiceChart } from "./chart.ts";
import { compact } from "./container.ts";
import { dockerfileOf } from "./dockerfile.ts";
import { isSensitive } from "./sensitive.ts";
import { type LoadOptions, loadModel } from "./load.ts";
import { isRemote } from "./normalize.ts";
import { type ComposeProject, type ComposeService, openProject, serviceNamed } from "./project.ts";
import { entries, flag, get, items, text, texts, type Tree } from "./tree.ts";
import { isWithin } from "./binds.ts";

export interface ConvertOptions extends LoadOptions {
  /** The workspace's folder; that of the first file unless given. */
  root?: string;
  /** The workspace's name; the project's unless given. */
  name?: string;
}

export async function convertCompose(files: string[], options: ConvertOptions): Promise<Conversion> {
  const model = await loadModel(files, options);
  const root = options.root ?? model.dir;
  model.findings.push(...checkKeys(model.tree));
  const project = await openProject(model);
  const conversion: Conversion = {
    name: toName(options.name ?? model.name),
    root,
    services: [],
    stacks: [],
    files: new Map(),
    secrets: [],
    findings: model.findings,
  };
  reportNetworks(project);
  const contextOf = ({ tree }: ComposeService) => text(get(tree, "build", "context"));
  const owners = project.services.toSorted((a, b) => Number(a.isJob) - Number(b.isJob));
  for (const service of project.services) {
    const { tree, name } = service;
    if (get(tree, "image") === undefined && get(tree, "build") === undefined) {
      project.report("error", tree, "the service has neither an image nor a build, and is left out");
      continue;
    }
    const context = contextOf(service);
    // Where the sources are, a dev session finds them; the workspace's own kws.yaml has the root for itself.
    const isInside =
      context !== undefined && context !== root && isWithin(context, root) && existsSync(context);
    const isOwner = owners.find((other) => contextOf(other) === context) === service;
    const dir = isInside && isOwner ? context : join(root, name);
    const chart = await chartOf(project, service);
    for (const [path, content] of chart.files) conversion.files.set(join(dir, "chart", path), content);
    conversion.files.set(
      join(dir, fileName),
      await serviceYaml(project, service, dir, chart, conversion.files),
    );
    if (Object.keys(chart.secrets).length > 0) conversion.secrets.push(plannedSecrets(dir, chart));
    conversion.services.push({ name, dir });
  }
  const stacks = stacksOf(project, conversion);
  conversion.stacks.push(...Object.keys(stacks));
  conversion.files.set(join(root, fileName), workspaceYaml(project, conversion, stacks));
  return conversion;
}

function plannedSecrets(dir: string, { secrets, secretPlaces }: ServiceChart): PlannedSecrets {
  return {
    path: join(dir, "chart/profiles/local/secrets.yaml"),
    values: secrets,
    from: secretPlaces.map(([name, { path, at }]) => ({ name, key: path, at: at() })),
  };
}

async function serviceYaml(
  project: ComposeProject,
  service: ComposeService,
  dir: string,
  { volumes }: ServiceChart,
  files: Conversion["files"],
): Promise<string> {
  const { name } = service;
  return yamlText(
    compact({
      name,
      build: buildOf(project, service, dir, files),
      chart: "./chart",
      dependsOn: dependenciesOf(project, service),
      dev: service.isJob
        ? undefined
        : await devOf(project, service, localContext(service) ?? dir, dir, volumes),
    }),
  );
}

/** The folder that the image is built from, where it is on this machine. */
function localContext({ tree }: ComposeService): string | undefined {
  const context = text(get(tree, "build", "context"));
  return context === undefined || isRemote(context) || !existsSync(context) ? undefined : context;
}

function buildOf(
  project: ComposeProject,
  { tree, name }: ComposeService,
  dir: string,
  files: Conversion["files"],
): Record<string, unknown> | undefined {
  const build = get(tree, "build");
  const context = text(get(build, "context"));
  if (build === undefined || context === undefined) return undefined;
  const at = get(build, "context") ?? build;
  if (isRemote(context)) {
    project.report(
      "error",
      at,
      `${context} is not built: the sources of a service are in the workspace, or cloned by it`,
      `Clone it, or name it in ${fileName}: services: { ${name}: { git: …, ref: … } }.`,
    );
    return undefined;
  }
  if (!existsSync(context)) project.report("error", at, `${context} does not exist, and cannot be built`);
  const inline = text(get(build, "dockerfile_inline"));
  const wanted =
    text(get(build, "dockerfile")) ??
    (existsSync(join(context, "Containerfile")) && !existsSync(join(context, "Dockerfile"))
      ? "Containerfile"
      : "Dockerfile");
  const dockerfile =
    inline === undefined
      ? isAbsolute(wanted)
        ? wanted
        : join(context, wanted)
      : join(dir, "Dockerfile.inline");
  if (inline !== undefined) files.set(dockerfile, inline);
  else if (existsSync(context) && !existsSync(dockerfile))
    project.report("error", at, `${dockerfile} does not exist, and the image cannot be built`);
  const args = entries(get(build, "args")).flatMap(([key, value]) => {
    const known = text(value) ?? project.model.variables(key);
    if (known !== undefined && isSensitive(key, known)) {
      project.report(
        "error",
        value,
        `the build argument ${key} is a secret, and is left out: what an image is built with stays in it`,
        "Bring what needs a login with `build.prepare`.",
      );
      return [];
    }
    if (known === undefined)
      project.report(
        "warning",
        value,
        `the build argument ${key} is not set in the environment, and is left out`,
      );
    return known === undefined ? [] : [[key, known] as const];
  });
  const folder = relative(dir, context);
  return compact({
    context: folder === "" ? undefined : folder,
    dockerfile: relative(dir, dockerfile),
    target: text(get(build, "target")),
    args: Object.fromEntries(args),
  });
}

function dependenciesOf(project: ComposeProject, { tree, compose, profiles }: ComposeService): string[] {
  const names = new Set<string>();
  for (const [name, place] of entries(get(tree, "depends_on"))) {
    const isRequired = flag(get(place, "required")) !== false;
    const other = project.services.find((service) => service.compose === name);
    if (
      !isRequired &&
      (other === undefined || other.profiles.some((profile) => !profiles.includes(profile)))
    ) {
      project.report("note", place, `${name} is not awaited: it is not required, and not in every stack`);
      continue;
    }
    const known = other ?? serviceNamed(project, name, place);
    if (known !== undefined) names.add(known.name);
  }
  for (const link of items(get(tree, "links"))) {
    const known = serviceNamed(project, (text(link) ?? "").split(":")[0] ?? "", link);
    if (known !== undefined && known.compose !== compose) names.add(known.name);
  }
  return [...names];
}

const actions: Record<string, string> = {
  sync: "sync",
  "sync+restart": "restart",
  restart: "restart",
  "sync+exec": "run",
  rebuild: "rebuild",
};

/**
 * What a dev session does: by `develop.watch`, and by mounts of what the image is built from, where the program starts again
 * unless it looks at its files by itself. Patterns go from the folder of the sources, which is the container's working directory.
 */
async function devOf(
  { report }: ComposeProject,
  { tree }: ComposeService,
  sources: string,
  dir: string,
  { synced, kept }: ServiceChart["volumes"],
): Promise<Record<string, unknown> | undefined> {
  const rules: { path: string }[] = [];
  const ignore: string[] = [];
  let workdir = text(get(tree, "working_dir"));
  const addRule = (place: Tree, source: string, target: string | undefined, rule: object): void => {
    const way = relative(sources, source).replaceAll("\\", "/");
    if (!isWithin(source, sources)) {
      report(
        "warning",
        place,
        `${source} is not in the folder that the image is built from, and is not synchronised in a dev session`,
      );
      return;
    }
    if (target?.endsWith(way === "" ? "" : `/${way}`) === true)
      workdir ??= target.slice(0, target.length - (way === "" ? 0 : way.length + 1)) || "/";
    const isFile = existsSync(source) && statSync(source).isFile();
    const path = isFile ? way : way === "" ? "**" : `${way}/**`;
    // The first rule of a path decides for it.
    if (!rules.some((known) => known.path === path)) rules.push({ path, ...rule });
  };
  for (const rule of items(get(tree, "develop", "watch"))) {
    const given = text(get(rule, "action")) ?? "";
    const action = actions[given] ?? "sync";
    if (!Object.hasOwn(actions, given))
      report("error", rule, `${JSON.stringify(given)} is no action, and files are only synchronised`);
    const run = action === "run" ? { run: texts(get(rule, "exec", "command")) } : {};
    addRule(rule, text(get(rule, "path")) ?? "", text(get(rule, "target"))?.replace(/(.)\/+$/, "$1"), {
      action,
      ...run,
    });
    ignore.push(...texts(get(rule, "ignore")));
  }
  if (synced.length > 0) {
    const own = [...texts(get(tree, "entrypoint")), ...texts(get(tree, "command"))];
    const production = own.length > 0 ? own : (await dockerfileOf(tree)).command;
    const { action } = (await defaultsOf(sources, { built: true, production })).rules.at(-1) ?? {};
    for (const { place, source, target } of synced) addRule(place, source, target, { action });
  }
  if (rules.length === 0 && sources === dir) return undefined;
  const keep = kept
    .filter((path) => workdir !== undefined && path.startsWith(`${workdir}/`))
    .map((path) => path.slice((workdir ?? "").length + 1));
  return compact({
    source: relative(dir, sources) || undefined,
    workdir,
    keep,
    ignore: [...new Set(ignore)],
    rules: rules.length === 0 ? undefined : rules,
  });
}

/** What kept services apart does not any more. */
function reportNetworks({ model, services, report }: ComposeProject): void {
  const [, first] = entries(get(model.tree, "networks")).find(([name]) => name !== "default") ?? [];
  const joined = new Set(
    services.flatMap(({ tree }) => entries(get(tree, "networks")).map(([name]) => name)),
  );
  if (first !== undefined && joined.size > 1) {
    report(
      "warning",
      first,
      `services of different networks (${[...joined].join(", ")}) reach each other: a stack is one namespace`,
      "Add NetworkPolicies where they must not.",
    );
  }
}

/** A stack of the services that every `docker compose up` starts, and one for each profile that adds some. */
function stacksOf(project: ComposeProject, { name, services }: Conversion): Record<string, object> {
  const profiles = [...new Set(project.services.flatMap((service) => service.profiles))];
  const known = new Set(services.map((service) => service.name));
  const of = (profile?: string): string[] =>
    project.services
      .filter(
        (service) =>
          service.profiles.length === 0 || (profile !== undefined && service.profiles.includes(profile)),
      )
      .map((service) => service.name)
      .filter((one) => known.has(one));
  const stacks: Record<string, object> = {
    [name]: { profile: "local", ...(profiles.length === 0 ? {} : { services: of() }) },
  };
  for (const profile of profiles)
    stacks[toName(`${name}-${profile}`)] = { profile: "local", services: of(profile) };
  return stacks;
}

function workspaceYaml(
  project: ComposeProject,
  { name, root, services }: Conversion,
  stacks: Record<string, object>,
): string {
  const folderOf = (dir: string): string => `./${relative(root, dir)}`;
  const outside = (dir: string): string | undefined => {
    const service = project.services.find((one) =>
      services.some((other) => other.dir === dir && other.name === one.name),
    );
    const context = text(get(service?.tree, "build", "context"));
    const used = service === undefined || context === undefined || isRemote(context) ? [] : [context];
    const far = used.find((path) => !isWithin(path, dir));
    return far === undefined ? undefined : commonRoot(far, dir, root);
  };
  return yamlText({
    name,
    services: Object.fromEntries(
      services.map((service) => [
        service.name,
        compact({ path: folderOf(service.dir), root: outside(service.dir) }),
      ]),
    ),
    stacks,
  });
}

/** The nearest folder that has both, relative to the workspace's. */
function commonRoot(a: string, b: string, root: string): string {
  let common = b;
  while (!isWithin(a, common)) common = join(common, "..");
  return relative(root, common) || ".";
}
