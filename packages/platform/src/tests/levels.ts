/** Which tests there are: the levels of each service's kws.yaml, chosen and checked before anything is started. */
import { UserError } from "@kws/base/errors";
import { suggest } from "../project/nearest.ts";
import type { FunctionalTests } from "../project/schema.ts";
import { hasSource, type ProjectService, type StackService } from "../project/workspace.ts";

/** Unit tests run in the service's image alone, functional tests beside the installed service and what it depends on. */
export const levels = ["unit", "functional"] as const;
export type Level = (typeof levels)[number];

/** One level of one service. */
export interface TestSuite {
  service: ProjectService;
  level: Level;
  /** `profile` is of the level `functional` alone. */
  config: FunctionalTests;
}

export interface Choice {
  /** All that have tests where none is named. */
  names: string[];
  /** All that the services have unless given. */
  level?: Level | undefined;
}

/** The suites that are meant, unit tests first. Throws for a name that is unknown or has no such tests. */
export function chooseSuites(services: StackService[], { names, level }: Choice): TestSuite[] {
  const known = services.map(({ name }) => name);
  const wanted = level === undefined ? levels : [level];
  const suitesOf = (service: StackService): TestSuite[] =>
    wanted.flatMap((one) => {
      const config = hasSource(service) ? service.config.tests?.[one] : undefined;
      return config === undefined || !hasSource(service) ? [] : [{ service, level: one, config }];
    });
  for (const name of names) {
    const service = services.find((one) => one.name === name);
    if (service === undefined) {
      throw new UserError(`there is no service "${name}"`, {
        code: "not-found",
        fix: suggest(name, known, "See `kws service list`."),
      });
    }
    if (suitesOf(service).length > 0) continue;
    const kind = level === undefined ? "tests" : `${level} tests`;
    throw new UserError(`${name} has no ${kind}`, {
      code: "not-found",
      ...(hasSource(service)
        ? { at: service.file.path, fix: `Say under \`tests\` of its kws.yaml how they are run.` }
        : { fix: "It is there as a package alone: run them where its source is." }),
    });
  }
  const suites = services.filter(({ name }) => names.length === 0 || names.includes(name)).flatMap(suitesOf);
  for (const suite of suites) checkSuite(suite, services);
  return suites.toSorted((a, b) => levels.indexOf(a.level) - levels.indexOf(b.level));
}

/** What the schema cannot say. */
function checkSuite({ service, level, config }: TestSuite, services: StackService[]): void {
  const fault = (keys: string[], message: string, fix: string) =>
    new UserError(message, { code: "config", at: service.file.at(["tests", level, ...keys]), fix });
  if (config.image !== undefined && config.target !== undefined) {
    throw fault(
      ["target"],
      "tests run in an `image` or in a `target` of the service's own",
      "Remove one of them.",
    );
  }
  const { build, images = {} } = service.config;
  if (config.image === undefined && build === undefined && Object.keys(images).length !== 1) {
    throw fault(
      [],
      `it is not said in which image the tests of ${service.name} run`,
      "Name it with `image`.",
    );
  }
  for (const [name, { image, service: other }] of Object.entries(config.datastores ?? {})) {
    const keys = ["datastores", name];
    if ((image === undefined) === (other === undefined)) {
      throw fault(
        keys,
        `the datastore ${name} has either an \`image\` or a \`service\``,
        "Give one of them.",
      );
    }
    if (other === undefined) continue;
    const found = services.find((one) => one.name === other);
    const built = found !== undefined && hasSource(found) && found.config.build !== undefined;
    if (built) continue;
    throw fault(
      [...keys, "service"],
      found === undefined
        ? `there is no service "${other}"`
        : `the service ${other} has no image of its own to run`,
      found === undefined
        ? suggest(
            other,
            services.map((one) => one.name),
            "Add it to the workspace's services.",
          )
        : "Name an `image` instead.",
    );
  }
}

/** For messages and results: `catalog unit`. */
export function suiteName({ service, level }: TestSuite): string {
  return `${service.name} ${level}`;
}
