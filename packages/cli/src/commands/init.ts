import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { UserError } from "@kws/base/errors";
import { libraryFiles, libraryIsOld, libraryPath } from "@kws/platform/charts/library";
import { newChart, portOf } from "@kws/platform/charts/new-chart";
import { composeFiles } from "@kws/platform/convert/compose/detect";
import { findKustomizations } from "@kws/platform/convert/kustomize/detect";
import {
  discover,
  type Discovered,
  repositories,
  serviceYaml,
  workspaceYaml,
} from "@kws/platform/project/discover";
import { fileName, toName } from "@kws/platform/project/workspace";
import { defineCommand, type Result } from "../command.ts";
import type { Context } from "../context.ts";
import { finish } from "../converting.ts";

export const command = defineCommand({
  summary: "make a kws.yaml from what the folder holds",
  description:
    "Looks for Dockerfiles, charts and package.json files, asks which of them are services, and writes a kws.yaml for each, " +
    "a first chart for each that has none, and a kws.yaml for the workspace. Files that exist are left alone, but for the " +
    "library chart (charts/kws) where a chart has an older one. A Compose file of the folder is converted instead, as by " +
    "`kws convert compose`, and so are kustomizations where there is nothing else.",
  options: {
    name: { type: "string", value: "name", description: "the workspace's name; the folder's unless given" },
    services: {
      type: "string",
      value: "names",
      description: "only these of the found services, separated by commas",
    },
    port: {
      type: "number",
      value: "port",
      min: 1,
      max: 65_535,
      description:
        "where the program listens, for a new chart; found in the Dockerfile or the program unless given",
    },
    "dry-run": { type: "boolean", description: "print what would be written" },
  },
  examples: ["kws init", "kws init --name shop --services orders,catalog --yes"],
  async run({ options }, ctx) {
    const converted = existsSync(join(ctx.cwd, fileName)) ? undefined : await convertFound(ctx, options);
    if (converted !== undefined) return converted;
    const found = await discover(ctx.cwd);
    if (found.length === 0) {
      throw new UserError(
        `${ctx.cwd} holds no Dockerfile, chart, package.json, Compose file or kustomization`,
        {
          code: "not-found",
          fix: "Run `kws init` in a folder with a service, or above several.",
        },
      );
    }
    const { name, services } = await settle(ctx, found, options.name, options.services?.split(","));
    const files = [
      ...planned(ctx.cwd, name, services),
      ...(await Promise.all(services.map((one) => chartFiles(ctx.cwd, one, options.port)))).flat(),
    ];
    const fresh = files.filter((file) => !existsSync(file.path));
    const outdated = await chartsWithOldLibrary(ctx.cwd, services);
    const library = Object.entries(await libraryFiles());
    const updated = outdated.flatMap((chart) =>
      library.map(([path, text]) => ({ path: join(chart, path), text })),
    );
    if (fresh.length === 0 && updated.length === 0) {
      throw new UserError(`${join(ctx.cwd, fileName)} exists already`, {
        code: "conflict",
        fix: "Edit it, or remove it first.",
      });
    }
    if (options["dry-run"] !== true) {
      for (const chart of outdated) await rm(join(chart, libraryPath), { recursive: true });
      for (const { path, text } of [...fresh, ...updated]) {
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, text, { flag: "wx" });
      }
    }
    const shown = [...fresh, ...updated].map(({ path, text }) => `# ${relative(ctx.cwd, path)}\n${text}`);
    return {
      data: {
        name,
        services: services.map((service) => service.name),
        files: [...fresh, ...updated].map((file) => file.path),
      },
      text:
        options["dry-run"] === true
          ? shown.join("\n")
          : [
              ...(await toldRepositories(ctx.cwd, found)),
              ...(await toldKustomizations(ctx.cwd)),
              told(ctx.cwd, { fresh, updated }, services),
            ].join("\n"),
    };
  },
});

interface InitFlags {
  name?: string;
  services?: string;
  port?: number;
  "dry-run"?: boolean;
}

/** A Compose file says more of its services than can be found in their folders; kustomizations are taken where there is nothing else. */
async function convertFound(ctx: Context, options: InitFlags): Promise<Result | undefined> {
  const files = composeFiles(ctx.cwd);
  if (files.length > 0) {
    const unused = (["services", "port"] as const).find((name) => options[name] !== undefined);
    if (unused !== undefined) {
      throw new UserError(
        `--${unused} says nothing here: the services are those of ${basename(files[0] ?? "")}`,
        {
          code: "usage",
          fix: "Leave it out, or use `kws convert compose`.",
        },
      );
    }
    const { convertCompose } = await import("@kws/platform/convert/compose/convert");
    const name = options.name === undefined ? {} : { name: options.name };
    const conversion = await convertCompose(files, { env: ctx.env, home: ctx.home, ...name });
    return withFound(
      `found ${files.map((file) => basename(file)).join(" and ")}`,
      await finish(ctx, conversion, options),
    );
  }
  const [kustomizations, found] = await Promise.all([findKustomizations(ctx.cwd), discover(ctx.cwd)]);
  if (found.length > 0 || kustomizations.length === 0) return undefined;
  const [{ convertKustomize }, { locateTool }] = await Promise.all([
    import("@kws/platform/convert/kustomize/convert"),
    import("@kws/platform/tools/locate"),
  ]);
  const { path } = await locateTool("kubectl", {
    env: ctx.env,
    cache: ctx.locations.cache,
    signal: ctx.signal,
  });
  const conversion = await convertKustomize(ctx.cwd, {
    kubectl: path,
    env: ctx.childEnv,
    signal: ctx.signal,
    root: ctx.cwd,
  });
  return withFound(`found ${kustomizations.length} kustomizations`, await finish(ctx, conversion, options));
}

function withFound(what: string, result: Result): Result {
  return { ...result, text: `${what}\n${result.text ?? ""}` };
}

/** Where every clone is a service or several, those with nothing to start are named. */
async function toldRepositories(root: string, found: Discovered[]): Promise<string[]> {
  const all = await repositories(root);
  const empty = all.filter((name) => !found.some(({ path }) => path === name || path.startsWith(`${name}/`)));
  if (all.length === 0) return [];
  return [
    `found ${all.length} repositories: ${all.join(", ")}`,
    ...empty.map((name) => {
      const composed = composeFiles(join(root, name)).length > 0;
      return composed
        ? `${name} has a Compose file: \`kws init\` in it, before it is run here, makes services of it`
        : `${name} has nothing that could be a service`;
    }),
  ];
}

async function toldKustomizations(root: string): Promise<string[]> {
  const all = await findKustomizations(root);
  return all.length === 0
    ? []
    : [`found ${all.length} kustomizations too: \`kws convert kustomize\` makes charts of them`];
}

interface Planned {
  path: string;
  text: string;
}

async function settle(
  ctx: Context,
  found: Discovered[],
  name: string | undefined,
  wanted: string[] | undefined,
): Promise<{ name: string; services: Discovered[] }> {
  const unknown = wanted?.find((one) => !found.some((service) => service.name === one));
  if (unknown !== undefined) {
    throw new UserError(`no service "${unknown}" was found`, {
      code: "not-found",
      fix: `Found: ${found.map((service) => service.name).join(", ")}.`,
    });
  }
  const fallback = toName(name ?? basename(ctx.cwd));
  const chosen = wanted === undefined ? found : found.filter((service) => wanted.includes(service.name));
  if (!ctx.interactive || ctx.globals.yes === true) return { name: fallback, services: chosen };
  const { isCancel, multiselect, text } = await import("@clack/prompts");
  const answer = name ?? (await text({ message: "Name of the workspace", initialValue: fallback }));
  if (isCancel(answer)) throw cancelled();
  if (wanted !== undefined) return { name: toName(answer), services: chosen };
  const picked = await multiselect({
    message: "Which of these are services?",
    options: found.map((service) => ({ value: service.name, label: service.name, hint: hintOf(service) })),
    initialValues: found.map((service) => service.name),
    required: true,
  });
  if (isCancel(picked)) throw cancelled();
  return { name: toName(answer), services: found.filter((service) => picked.includes(service.name)) };
}

function cancelled(): UserError {
  return new UserError("nothing was written", { code: "interrupted" });
}

function hintOf(service: Discovered): string {
  const parts = [service.dockerfile, service.chart === undefined ? undefined : `chart ${service.chart}`];
  return [service.path, ...parts.filter((part) => part !== undefined)].join(", ");
}

/** A lone service in the folder itself needs no workspace. */
function planned(root: string, name: string, services: Discovered[]): Planned[] {
  const own = services.map((service) => ({
    path: join(root, service.path, fileName),
    text: serviceYaml(service),
  }));
  if (services.some((service) => service.path === ".")) {
    return services.length === 1
      ? own
      : own.filter((file) => file.path !== join(root, fileName)).concat(workspace());
  }
  return [...own, ...workspace()];

  function workspace(): Planned[] {
    const below = services.filter((service) => service.path !== ".");
    return [{ path: join(root, fileName), text: workspaceYaml(name, below) }];
  }
}

/** A service with a kws.yaml of its own says itself where its chart is. */
async function chartFiles(root: string, service: Discovered, given: number | undefined): Promise<Planned[]> {
  if (service.chart !== undefined || service.configured) return [];
  const dir = join(root, service.path);
  const port = given ?? (await portOf(dir, service.dockerfile));
  const files = await newChart({ service: service.name, ...(port === undefined ? {} : { port }) });
  return Object.entries(files).map(([path, text]) => ({ path: join(dir, "chart", path), text }));
}

async function chartsWithOldLibrary(root: string, services: Discovered[]): Promise<string[]> {
  const charts = services.flatMap(({ path, chart }) =>
    chart === undefined ? [] : [join(root, path, chart)],
  );
  const old = await Promise.all(charts.map(libraryIsOld));
  return charts.filter((_, index) => old[index]);
}

function told(
  root: string,
  { fresh, updated }: { fresh: Planned[]; updated: Planned[] },
  services: Discovered[],
): string {
  const silent = services.filter((service) =>
    fresh.some(
      ({ path, text }) =>
        path === join(root, service.path, "chart", "values.yaml") && text.includes("\nport: 0\n"),
    ),
  );
  return [
    ...fresh.map((file) => `wrote ${relative(root, file.path)}`),
    ...updated.map((file) => `updated ${relative(root, file.path)}`),
    ...silent.map(
      (service) =>
        `where ${service.name} listens is not known: if it does, set \`port\` in ${join(service.path, "chart", "values.yaml")}`,
    ),
    "Next: kws stack start",
  ].join("\n");
}
