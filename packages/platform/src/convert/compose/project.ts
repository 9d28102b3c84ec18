/** The model as the renderers see it: services with their new names, who uses what, and where findings go. */
import { toName } from "../../project/workspace.ts";
import type { Finding } from "../finding.ts";
import { dockerfileOf } from "./dockerfile.ts";
import { look } from "./files.ts";
import type { Model } from "./load.ts";
import {
  entries,
  get,
  items,
  list,
  map,
  type MapTree,
  scalar,
  text,
  texts,
  type Tree,
  withKey,
} from "./tree.ts";

export interface ComposeService {
  /** As the Compose file calls it, and others in it address it. */
  compose: string;
  /** Of its release, chart and Service. */
  name: string;
  tree: MapTree;
  /** Other names that it resolves by. */
  aliases: string[];
  /** A one-off: a Job that Helm waits for. */
  isJob: boolean;
  profiles: string[];
}

export interface ComposeProject {
  model: Model;
  services: ComposeService[];
  /** All that names services by `name:port`: variables, commands, and files that are mounted. */
  texts: string[];
  report: (severity: Finding["severity"], tree: Tree, message: string, fix?: string) => void;
}

export async function openProject(model: Model): Promise<ComposeProject> {
  const project: ComposeProject = {
    model,
    services: [],
    texts: [],
    report: (severity, tree, message, fix) => {
      const found = { severity, key: tree.path, at: tree.at(), message };
      model.findings.push(fix === undefined ? found : { ...found, fix });
    },
  };
  const listed = entries(get(model.tree, "services")).filter(
    (entry): entry is [string, MapTree] => entry[1].kind === "map" && get(entry[1], "provider") === undefined,
  );
  const all = listed.map(([name, tree]): [string, MapTree] => [name, withVolumesFrom(project, listed, tree)]);
  const taken = new Set<string>();
  const completed = new Set(
    all.flatMap(([, tree]) => dependenciesOf(tree, "service_completed_successfully")),
  );
  const awaited = new Set(
    all.flatMap(([, tree]) => [
      ...dependenciesOf(tree, "service_started"),
      ...dependenciesOf(tree, "service_healthy"),
      ...texts(get(tree, "links")).map((link) => link.split(":")[0] ?? ""),
    ]),
  );
  for (const [compose, given] of all) {
    const tree = await withImageCheck(project, given);
    const wanted = serviceName(compose);
    let name = wanted;
    for (let count = 2; taken.has(name); count++) name = `${wanted.slice(0, 50)}-${count}`;
    taken.add(name);
    if (name !== compose) {
      project.report("note", tree, `the service is called ${name}: only that is a name in Kubernetes`);
    }
    project.services.push({
      compose,
      name,
      tree,
      aliases: [],
      isJob: isJob(tree, completed.has(compose), awaited.has(compose)),
      profiles: texts(get(tree, "profiles")),
    });
  }
  giveAliases(project);
  project.texts = (await Promise.all(project.services.map(textsOf))).flat();
  return project;
}

/** With the mounts of the services that `volumes_from` names, but for those without a name, which only one container has. */
function withVolumesFrom(project: ComposeProject, all: [string, MapTree][], tree: MapTree): MapTree {
  const taken = items(get(tree, "volumes_from")).flatMap((one) => {
    const [name = "", ...options] = (text(one) ?? "").split(":");
    const source = all.find(([other]) => other === name)?.[1];
    if (source === undefined) {
      const what = name === "container" ? "a container of elsewhere" : `"${name}", which is no service`;
      project.report("error", one, `nothing is mounted from ${what}`, "Name its volumes under `volumes`.");
      return [];
    }
    return items(get(source, "volumes")).flatMap((mount) => {
      if (mount.kind !== "map") return [];
      if (get(mount, "source") === undefined) {
        project.report(
          "warning",
          one,
          `${text(get(mount, "target"))} of ${name} is not shared: it has no name`,
          "Give the volume a name in both services.",
        );
        return [];
      }
      return [options.includes("ro") ? withKey(mount, "read_only", scalar(one, true)) : mount];
    });
  });
  if (taken.length === 0) return tree;
  const own = get(tree, "volumes") ?? list(tree, []);
  const targets = new Set(items(own).map((mount) => text(get(mount, "target"))));
  const added = taken.filter((mount) => !targets.has(text(get(mount, "target"))));
  return withKey(tree, "volumes", list(own, [...items(own), ...added]));
}

/** With the health check of the image that is built, where the file has none of its own. */
async function withImageCheck(project: ComposeProject, tree: MapTree): Promise<MapTree> {
  const build = get(tree, "build");
  if (build === undefined || get(tree, "healthcheck") !== undefined) return tree;
  const { healthcheck } = await dockerfileOf(tree);
  if (healthcheck === undefined) return tree;
  const { test, ...options } = healthcheck;
  project.report("note", build, "the HEALTHCHECK of the Dockerfile became the readiness probe");
  return withKey(
    tree,
    "healthcheck",
    map(build, [
      [
        "test",
        list(
          build,
          test.map((word) => scalar(build, word)),
        ),
      ],
      ...Object.entries(options).map(([name, value]): [string, Tree] => [name, scalar(build, value)]),
    ]),
  );
}

async function textsOf({ tree }: ComposeService): Promise<string[]> {
  const paths = [
    ...items(get(tree, "env_file")).map((file) => get(file, "path")),
    ...items(get(tree, "volumes")).map((mount) => get(mount, "source")),
  ];
  const files = await Promise.all(
    paths.map(async (path) => {
      const found = await look(text(path) ?? "");
      if (found.kind === "folder") return Array.from(found.files?.values() ?? []);
      return found.kind === "file" ? [found.content] : [];
    }),
  );
  return [
    ...entries(get(tree, "environment")).map(([, value]) => text(value) ?? ""),
    ...texts(get(tree, "command")),
    ...texts(get(tree, "entrypoint")),
    ...files.flat().map((content) => Buffer.from(content).toString("latin1")),
  ];
}

/** A Service's name begins with a letter. */
function serviceName(compose: string): string {
  const name = toName(compose);
  return /^[a-z]/.test(name) ? name : `s-${name}`.slice(0, 53).replace(/-+$/, "");
}

export function dependenciesOf(tree: Tree, condition: string): string[] {
  return entries(get(tree, "depends_on"))
    .filter(([, one]) => (text(get(one, "condition")) ?? "service_started") === condition)
    .map(([name]) => name);
}

/** What others wait for to complete, and what is not started again and has nothing that others could connect to. */
function isJob(tree: MapTree, isCompleted: boolean, isAwaited: boolean): boolean {
  if (isCompleted) return true;
  if (/^(replicated|global)-job$/.test(text(get(tree, "deploy", "mode")) ?? "")) return true;
  const restart = text(get(tree, "restart"));
  const once =
    restart === "no" ||
    restart === "false" ||
    text(get(tree, "deploy", "restart_policy", "condition")) === "none";
  const serves = [...items(get(tree, "ports")), ...items(get(tree, "expose"))].length > 0;
  return once && !serves && !isAwaited && get(tree, "healthcheck") === undefined;
}

/** Names other than the service's own: of containers, of networks and of links. The first service that claims one gets it. */
function giveAliases({ services, report }: ComposeProject): void {
  const taken = new Map(services.map(({ compose, name }) => [name, compose]));
  for (const service of services) {
    const { tree } = service;
    const wanted: [string, Tree][] = [get(tree, "container_name")].flatMap((one) =>
      one === undefined ? [] : [[text(one) ?? "", one] satisfies [string, Tree]],
    );
    for (const [, network] of entries(get(tree, "networks"))) {
      for (const alias of items(get(network, "aliases"))) wanted.push([text(alias) ?? "", alias]);
    }
    for (const other of services) {
      for (const link of items(get(other.tree, "links"))) {
        const [target, alias] = (text(link) ?? "").split(":");
        if (target === service.compose && alias !== undefined) wanted.push([alias, link]);
      }
    }
    for (const [alias, place] of wanted) {
      if (alias === service.name || alias === service.compose || service.aliases.includes(alias)) continue;
      const owner = taken.get(alias);
      if (!/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(alias)) {
        report(
          "warning",
          place,
          `${JSON.stringify(alias)} will not resolve: a Service cannot have this name`,
          `Use "${service.name}" instead.`,
        );
      } else if (owner !== undefined && owner !== service.compose) {
        report("warning", place, `"${alias}" will not lead here: it is ${owner} already`);
      } else {
        taken.set(alias, service.compose);
        service.aliases.push(alias);
      }
    }
  }
}

/** The service that a key names; reported where there is none. */
export function serviceNamed(project: ComposeProject, name: string, place: Tree): ComposeService | undefined {
  const found = project.services.find((service) => service.compose === name);
  if (found === undefined) project.report("error", place, `there is no service "${name}"`);
  return found;
}

/**
 * Text in which services are addressed, with the names that they have now. Only what is surely a host is changed: what a port
 * follows, or what follows `//` or `@`; the whole text where `isHost`.
 */
export function withNewNames(project: ComposeProject, source: string, isHost = false): string {
  let result = source;
  for (const { compose, name } of project.services) {
    if (compose === name) continue;
    const own = compose.replaceAll(/[.]/g, String.raw`\.`);
    result = result
      .replaceAll(new RegExp(String.raw`((?:\/\/|@))${own}(?![\w.-])`, "g"), `$1${name}`)
      .replaceAll(new RegExp(String.raw`(?<![\w.\/-])${own}(?=:\d)`, "g"), name);
    if (isHost)
      result = result.replaceAll(new RegExp(String.raw`(^|[,; ])${own}(?=$|[,; ])`, "g"), `$1${name}`);
  }
  return result;
}
