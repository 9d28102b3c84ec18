/**
 * How a service is developed where its kws.yaml does not say: by what its folder holds and what its container runs in production.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ImageConfig } from "@kws/oci/manifest";
import { parse } from "yaml";
import type { DevRule } from "../project/schema.ts";
import type { Container } from "./container.ts";

export interface DevDefaults {
  /** Undefined where nothing tells. */
  command: string[] | undefined;
  /** The stage of the Dockerfile that has what the command needs, where the last one has not. */
  target?: string;
  rules: DevRule[];
  /** Folders of the image that the service's folder lacks. */
  keep: string[];
}

/**
 * Programs that see changes by themselves, or look at their files at each request: a restart would only be in their way. Not
 * Node's own `--watch`, which no longer looks at a file that was removed and made again, as git does it (seen with Node 24).
 */
const reloading = (script: string): boolean =>
  watching.test(script.replaceAll(/\bnode\b[^&|;]*?--watch\S*/g, "")) && !/--no-?reload\b/.test(script);
const watching = new RegExp(
  [
    "--watch|--hot|--reload\\b|\\bdotnet watch\\b",
    "\\b(nodemon|vite|nuxt|next dev|tsx watch|ts-node-dev|webpack serve|webpack-dev-server|nest start)\\b",
    "\\b(flask\\b.* --debug|manage\\.py runserver|rails (s|server)|php|php-fpm|apache2\\S*|httpd\\S*|nginx)(?=\\s|$)",
  ].join("|"),
);

/** `built`: the image is built from the folder. `production` is what the container runs when it is not developed. */
export async function defaultsOf(
  dir: string,
  { built, production }: { built: boolean; production: string[] | undefined },
): Promise<DevDefaults> {
  const has = (name: string) => existsSync(join(dir, name));
  const produced = production?.join(" ") ?? "";
  const rules = (dependencies: string[], running: string): DevRule[] => [
    ...["Dockerfile", ...dependencies]
      .filter(() => built)
      .map((path): DevRule => ({ path, action: "rebuild" })),
    { path: "**", action: reloading(running) ? "sync" : "restart" },
  ];
  if (has("package.json")) {
    const { scripts, main, needs } = await readPackage(join(dir, "package.json"));
    const { dev } = scripts;
    const [, name = ""] = /\b(?:npm|pnpm|yarn) (?:run )?([\w:.-]+)/.exec(produced) ?? [];
    return {
      command: dev === undefined ? (production ?? main) : npmScript(dev),
      rules: rules(["package.json", "package-lock.json"], dev ?? scripts[name] ?? produced),
      keep: needs && !has("node_modules") ? ["node_modules"] : [],
    };
  }
  if (has("go.mod")) {
    const target = await stageOf(dir, /(^|\/)golang([:@]|$)/);
    return { command: ["go", "run", "."], ...target, rules: rules([], ""), keep: [] };
  }
  if (has("pom.xml")) {
    const target = await stageOf(dir, /(^|\/)maven([:@]|$)/);
    const spring = (await readFile(join(dir, "pom.xml"), "utf8")).includes("spring-boot-maven-plugin");
    const goals = spring ? ["spring-boot:run"] : ["compile", "exec:java"];
    return { command: ["mvn", "-q", ...goals], ...target, rules: rules(["pom.xml"], ""), keep: [] };
  }
  // Python and all else: what runs in production, from the sources.
  return { command: production, rules: rules(["requirements.txt", "pyproject.toml"], produced), keep: [] };
}

/** What a container runs: its own words win over the image's, as Kubernetes has it. Undefined where neither is known. */
export function productionCommand(
  { command, args }: Container,
  image: ImageConfig | undefined,
): string[] | undefined {
  if (command === undefined && image === undefined) return undefined;
  const whole = [
    ...(command ?? literal(image?.Entrypoint)),
    ...(args ?? (command === undefined ? literal(image?.Cmd) : [])),
  ];
  return whole.length === 0 ? undefined : whole;
}

/** In a Pod's command `$(NAME)` is a variable, and `$$` a dollar sign. */
function literal(command: string[] = []): string[] {
  return command.map((word) => word.replaceAll("$", "$$$$"));
}

/** As `npm run` would, without the time that npm takes, and in images that have no npm. */
function npmScript(script: string): string[] {
  return literal(["sh", "-c", `PATH="$PWD/node_modules/.bin:$PATH"; export PATH; ${script}`]);
}

async function readPackage(
  path: string,
): Promise<{ scripts: Partial<Record<string, string>>; main: string[]; needs: boolean }> {
  const value: unknown = parse(await readFile(path, "utf8"), { maxAliasCount: 10 });
  const { scripts, main, dependencies } = (typeof value === "object" && value !== null ? value : {}) as {
    scripts?: Record<string, unknown>;
    main?: unknown;
    dependencies?: object;
  };
  const texts = Object.entries(scripts ?? {}).flatMap(([name, text]) =>
    typeof text === "string" ? [[name, text] as const] : [],
  );
  return {
    scripts: Object.fromEntries(texts),
    main: ["node", typeof main === "string" ? main : "."],
    needs: Object.keys(dependencies ?? {}).length > 0,
  };
}

/** The first named stage of the Dockerfile on such a base, unless the last stage is on one itself. */
async function stageOf(dir: string, base: RegExp): Promise<{ target?: string }> {
  const path = join(dir, "Dockerfile");
  if (!existsSync(path)) return {};
  const stages = [
    ...(await readFile(path, "utf8")).matchAll(/^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/gim),
  ].map(([, image = "", name]) => ({ image, name }));
  if (base.test(stages.at(-1)?.image ?? "")) return {};
  const found = stages.find(({ image, name }) => name !== undefined && base.test(image));
  return found?.name === undefined ? {} : { target: found.name };
}
