import { resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import { linkTarget } from "@kws/platform/project/links";
import { listRepositories } from "@kws/platform/project/repositories";
import { defineCommand } from "../command.ts";
import { saveLinks, shortFolder } from "../repositories.ts";

export const command = defineCommand({
  summary: "take a service from a folder of yours",
  description:
    "Takes a service from a clone or a folder of yours instead of where kws.yaml says. The link is written to kws.local.yaml, " +
    "beside kws.yaml, which is for you alone. Without arguments: the links, and the clones beside the workspace.",
  args: [
    { name: "service", description: "the service", completes: "services" },
    { name: "path", description: "the service's folder, or a clone of its repository" },
  ],
  examples: ["kws link orders ../orders", "kws link"],
  async run({ args: [name, path] }, ctx) {
    const project = await ctx.project();
    if (name !== undefined) {
      if (path === undefined) {
        throw new UserError("a service is linked to a folder", {
          code: "usage",
          fix: `Name it: kws link ${name} ../${name}`,
        });
      }
      const dir = await linkTarget(project, name, resolve(ctx.cwd, path));
      await saveLinks(ctx, project, { [name]: dir });
      return { data: [{ service: name, uses: "link", path: dir }], text: `${name} is taken from ${dir}.` };
    }
    const { links = {} } = project.local.settings;
    const clones = (await listRepositories(project)).flatMap(({ uses, dir, services }) =>
      dir === undefined || uses === "folder" || uses === "link"
        ? []
        : services.map((service) => ({ service: service.name, uses, path: dir })),
    );
    const linked = Object.entries(links).map(([service, folder]) => ({
      service,
      uses: "link" as const,
      path: resolve(project.root, folder),
    }));
    const data = [...linked, ...clones].toSorted((a, b) => a.service.localeCompare(b.service));
    if (data.length === 0) {
      return { data, text: "Nothing is linked, and no clone of a service lies beside the workspace." };
    }
    const words = { link: "the link", clone: "the clone", pin: "the pin, not this clone" };
    return {
      data,
      table: {
        columns: ["SERVICE", "PATH", "USES"],
        rows: data.map((one) => [one.service, shortFolder(ctx, one.path), words[one.uses]]),
      },
    };
  },
});
