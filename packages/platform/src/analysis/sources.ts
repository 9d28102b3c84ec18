/** Checks of services' repositories: what builds them, their charts, profiles and tests. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { exec } from "@kws/base/exec";
import { chartFolder } from "../charts/chart.ts";
import { profileChain, profileNames } from "../charts/profiles.ts";
import { redactor } from "../charts/redact.ts";
import type { Build } from "../project/schema.ts";
import type { ProjectService } from "../project/workspace.ts";
import { type Check, faultFinding, type Finding, ok, faultOf } from "./finding.ts";
import { pinFinding } from "./manifests.ts";
import { textOf } from "./machine.ts";
import type { Subject } from "./subject.ts";

/** A check of each service; `fine` is said where there is nothing else to be said. */
async function overServices(
  subject: Subject,
  look: (service: ProjectService) => Promise<Finding[]>,
  fine: string,
): Promise<Finding[]> {
  const services = await subject.services();
  const found = (await Promise.all(services.map(look))).flat();
  return found.length > 0 || services.length === 0 ? found : [ok(fine)];
}

const buildsOf = ({ config }: ProjectService): [keys: string[], build: Build][] => [
  ...(config.build === undefined ? [] : [[["build"], config.build] as [string[], Build]]),
  ...Object.entries(config.images ?? {}).map(([key, build]) => [["images", key], build] as [string[], Build]),
];

const dockerfile: Check = {
  id: "dockerfile",
  family: "service",
  about: "what builds an image is there: its context, and a Dockerfile or a package.json",
  run: (subject) =>
    overServices(
      subject,
      async (service) => buildsOf(service).flatMap(([keys, build]) => buildFindings(service, keys, build)),
      "what builds the images of all services is there",
    ),
};

function buildFindings({ name, dir, file }: ProjectService, keys: string[], build: Build): Finding[] {
  const context = resolve(dir, build.context ?? ".");
  const wanted = resolve(dir, build.dockerfile ?? "Dockerfile");
  const at = (key: string) => file.at([...keys, key]);
  const missing = (where: string, what: string, fix: string): Finding[] => [
    { severity: "error", where, message: `${name} cannot be built: ${what} does not exist`, fix },
  ];
  if (!existsSync(context)) return missing(at("context"), context, "Correct the path.");
  if (existsSync(wanted) || build.prepare !== undefined) return [];
  if (build.builder === "dockerfile" || build.dockerfile !== undefined)
    return missing(at("dockerfile"), wanted, "Add the Dockerfile, or correct its path.");
  if (existsSync(join(context, "package.json"))) return [];
  return missing(file.at(keys), wanted, "Add a Dockerfile, or a package.json for the builder `node`.");
}

const bases: Check = {
  id: "base-images",
  family: "service",
  about: "the images that Dockerfiles build on are pinned",
  run: (subject) =>
    overServices(
      subject,
      async (service) => {
        const paths = buildsOf(service).map(([, build]) =>
          resolve(service.dir, build.dockerfile ?? "Dockerfile"),
        );
        const found = await Promise.all(
          [...new Set(paths)].map(async (path) => basesFindings(path, await textOf(path))),
        );
        return found.flat();
      },
      "base images are pinned",
    ),
};

/** https://docs.docker.com/reference/dockerfile/#from; stages and variables are no images. */
export function basesFindings(path: string, text: string): Finding[] {
  const stages = new Set(["scratch"]);
  return text.split("\n").flatMap((line, index) => {
    const [, image, stage] = /^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/i.exec(line) ?? [];
    if (stage !== undefined) stages.add(stage.toLowerCase());
    if (image === undefined || image.includes("$") || stages.has(image.toLowerCase())) return [];
    return pinFinding(image).map((finding) =>
      Object.assign(finding, { where: `${path}:${index + 1}:${line.indexOf(image) + 1}` }),
    );
  });
}

const chart: Check = {
  id: "chart",
  family: "service",
  about:
    "every service has a chart, and `helm lint` and `helm template` accept it with the profiles of the workspace's stacks",
  timeoutMs: 30_000,
  async run(subject, signal) {
    const helm = await subject.helm();
    const faults = (await Promise.all((await subject.services()).map(missingChart))).flat();
    const rendered = await subject.rendered();
    const unrendered = rendered.flatMap(({ service, stack, fault }): Finding[] =>
      fault === undefined ? [] : [faultFinding(fault, `${service.name}, profile ${stack.profile}`)],
    );
    const linted = new Map(rendered.map((one) => [`${one.chart.dir} ${one.stack.profile}`, one]));
    const found = await Promise.all(
      [...linted.values()]
        // What cannot be rendered is said already, and better.
        .filter(({ fault }) => fault === undefined)
        .map(async ({ chart: { dir, values, layers } }) => {
          const args = ["lint", "--values=-", "--", dir];
          const { stdout } = await exec(helm, args, {
            env: subject.env,
            signal,
            input: JSON.stringify(values),
          });
          return lintFindings(dir, redactor(layers).text(stdout));
        }),
    );
    const all = [...faults, ...unrendered, ...unique(found.flat())];
    return all.length > 0 || rendered.length === 0
      ? all
      : [ok("helm lint and helm template accept all charts")];
  },
};

async function missingChart(service: ProjectService): Promise<Finding[]> {
  const folder = await chartFolder(service).catch(faultOf);
  return folder instanceof UserError ? [faultFinding(folder, service.name)] : [];
}

/** Lines such as `[WARNING] templates/x.yaml: …`; what is only recommended is left out. */
export function lintFindings(dir: string, said: string): Finding[] {
  return said.split("\n").flatMap((line): Finding[] => {
    const [, level, place = "", message = ""] = /^\[(ERROR|WARNING)\] ([^:]*): (.*)$/.exec(line) ?? [];
    if (level === undefined) return [];
    return [
      {
        severity: level === "ERROR" ? "error" : "warning",
        where: join(dir, place),
        message: `helm lint: ${message}`,
      },
    ];
  });
}

function unique(findings: Finding[]): Finding[] {
  return [...new Map(findings.map((one) => [JSON.stringify(one), one])).values()];
}

const profiles: Check = {
  id: "profiles",
  family: "service",
  about:
    "charts have the profiles of the stacks that have the service, and no others but those that these extend",
  async run(subject) {
    const stacks = (await subject.project())?.stacks ?? [];
    return overServices(
      subject,
      async (service) => {
        const folder = await chartFolder(service).catch(faultOf);
        if (folder instanceof UserError) return [];
        const wanted = stacks
          .filter(({ services }) => services === undefined || services.includes(service.name))
          .map(({ profile }) => profile);
        return profileFindings(service.name, folder, [...new Set(wanted)]);
      },
      "all charts have the profiles of their stacks",
    );
  },
};

export async function profileFindings(service: string, folder: string, wanted: string[]): Promise<Finding[]> {
  const known = await profileNames(folder);
  const used = new Set<string>();
  const findings: Finding[] = [];
  for (const profile of wanted) {
    if (!known.includes(profile)) {
      findings.push({
        severity: "info",
        where: join(folder, "profiles"),
        message: `${service} has no profile "${profile}", which a stack is started with: its defaults are used`,
        fix: `Add profiles/${profile}/values.yaml where it needs other values.`,
      });
      continue;
    }
    const chain = await profileChain(folder, profile).catch(faultOf);
    if (chain instanceof UserError) findings.push(faultFinding(chain, service));
    else for (const name of chain) used.add(name);
  }
  const extended = await Promise.all(known.map((name) => profileChain(folder, name).catch(faultOf)));
  const bases = new Set(extended.flatMap((chain) => (chain instanceof UserError ? [] : chain.slice(0, -1))));
  for (const name of known) {
    if (used.has(name) || bases.has(name)) continue;
    findings.push({
      severity: "info",
      where: join(folder, "profiles", name),
      message: `no stack of the workspace has the profile "${name}": it counts where it is named with -p alone`,
    });
  }
  return findings;
}

/** Names that test runners look for, in the folder or in a few below it. */
const testName =
  /(^(tests?|__tests__|spec)$)|((\.|_|-)(test|spec)\.\w+$)|(^test_.*\.py$)|(Tests?\.(java|kt|cs)$)/;

const tests: Check = {
  id: "tests",
  family: "service",
  about:
    "a service that is built here has tests: `tests` in its kws.yaml, files that test runners look for, a script `test`, or a Helm test",
  run: (subject) =>
    overServices(
      subject,
      async (service) => {
        if (buildsOf(service).length === 0 || service.config.tests !== undefined) return [];
        if (await hasTests(service.dir, 3)) return [];
        const chartTests = join(service.dir, service.config.chart ?? "chart", "templates/tests");
        if (existsSync(chartTests) || (await hasTestScript(service.dir))) return [];
        return [
          {
            severity: "info",
            where: service.file.at(["name"]),
            message: `${service.name} has no tests that could be found`,
            fix: "Add one, and name it under `tests` in its kws.yaml: it is what tells a good package from a bad one.",
          },
        ];
      },
      "all services have tests",
    ),
};

async function hasTests(dir: string, depth: number): Promise<boolean> {
  const entries = await readdir(dir, { withFileTypes: true });
  if (entries.some(({ name }) => testName.test(name))) return true;
  if (depth === 0) return false;
  const below = entries.filter(
    (one) => one.isDirectory() && !/^(\..*|node_modules|vendor|target|dist|chart)$/.test(one.name),
  );
  for (const { name } of below) if (await hasTests(join(dir, name), depth - 1)) return true;
  return false;
}

async function hasTestScript(dir: string): Promise<boolean> {
  try {
    const { scripts } = JSON.parse(await readFile(join(dir, "package.json"), "utf8")) as {
      scripts?: { test?: string };
    };
    // What npm itself writes into a new package.
    return scripts?.test !== undefined && !scripts.test.includes("no test specified");
  } catch (error) {
    if (isErrno(error, "ENOENT") || error instanceof SyntaxError) return false;
    throw error;
  }
}

export const sourceChecks = [dockerfile, bases, chart, profiles, tests];
