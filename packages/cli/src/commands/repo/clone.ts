import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { makeClone } from "@kws/platform/project/clone";
import { linkTarget } from "@kws/platform/project/links";
import { suggest } from "@kws/platform/project/nearest";
import { listRepositories } from "@kws/platform/project/repositories";
import type { GitPin } from "@kws/platform/project/workspace";
import { defineCommand } from "../../command.ts";
import { gitSettings, repositoriesAtATime, saveLinks, shortFolder } from "../../repositories.ts";

export const command = defineCommand({
  summary: "clone services' repositories beside the workspace, and link them",
  description:
    "Makes whole clones to work in, beside the workspace's folder, and links the services to them. On the branch that is pinned, " +
    "else on the repository's own. A clone that lies there already is linked as it is.",
  args: [
    {
      name: "services",
      description: "those whose repositories are cloned; all that have no clone unless given",
      variadic: true,
      completes: "services",
    },
  ],
  examples: ["kws repo clone orders", "kws repo clone --yes"],
  async run({ args: names }, ctx) {
    const project = await ctx.project();
    const inGit = (await listRepositories(project)).filter(({ uses }) => uses === "pin");
    const known = inGit.flatMap(({ services }) => services.map(({ name }) => name));
    const stray = names.find((name) => !known.includes(name));
    if (stray !== undefined) {
      throw new UserError(`"${stray}" is not a service that is taken from a pin in git`, {
        code: "not-found",
        fix: suggest(stray, known, "`kws repo status` shows what services are taken from."),
      });
    }
    const wanted = inGit.filter(({ dir, services }) =>
      names.length === 0 ? dir === undefined : services.some(({ name }) => names.includes(name)),
    );
    const parent = dirname(project.root);
    const question = `Clone ${wanted.length} repositories into ${parent}?`;
    if (names.length === 0 && wanted.length > 0 && !(await ctx.confirm(question)))
      return { text: "Nothing was changed." };
    const places = new Set<string>();
    const clones = wanted.map(({ dir, services }) => {
      const pin = services[0]?.pin;
      if (pin === undefined) throw new Error("a service in git has a pin");
      const path = dir ?? freeFolder(parent, pin, places);
      places.add(path);
      const own = services.map(({ name }) => name);
      const chosen = names.length === 0 ? own : own.filter((name) => names.includes(name));
      return { path, services: chosen, pin, isThere: dir !== undefined };
    });
    const limit = limiter(repositoriesAtATime);
    const steps = ctx.steps();
    await Promise.all(
      clones.map(({ path, pin, isThere }) =>
        limit(async () => {
          const title = `clone ${shortFolder(ctx, path)}`;
          if (!isThere) await steps.run({ id: title, title }, () => makeClone(pin, path, gitSettings(ctx)));
        }),
      ),
    );
    const data = clones.map(({ path, services }) => ({ path, services }));
    const links: Record<string, string> = {};
    for (const { path, services } of data)
      for (const name of services) links[name] = await linkTarget(project, name, path);
    if (data.length > 0) await saveLinks(ctx, project, links);
    return {
      data,
      table: {
        columns: ["PATH", "SERVICES"],
        rows: data.map(({ path, services }) => [shortFolder(ctx, path), services.join(", ")]),
      },
    };
  },
});

function freeFolder(parent: string, { url }: GitPin, taken: Set<string>): string {
  const path = join(parent, basename(url.replace(/(\/?\.git)?\/*$/, "").replace(/^.*:/, "")));
  if (!existsSync(path) && !taken.has(path)) return path;
  throw new UserError(
    `${path} is there already, and is not a clone of ${url.replace(/:\/\/[^/@]+@/, "://")}`,
    {
      code: "conflict",
      fix: "Clone the repository by hand to another folder, and link its services with `kws link`.",
    },
  );
}
