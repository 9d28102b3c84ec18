import { resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import { convertKustomize } from "@kws/platform/convert/kustomize/convert";
import { locateTool } from "@kws/platform/tools/locate";
import { defineCommand } from "../../command.ts";
import { convertOptions, finish, folderOption, targetFolder } from "../../converting.ts";

export const command = defineCommand({
  summary: "make a workspace of kustomizations",
  description:
    "Makes a chart of every app among the kustomizations below a folder: what they have in common becomes its templates, each overlay a " +
    "profile. With a profile's values the chart renders what `kubectl kustomize` renders for the overlay. What Secrets hold is written " +
    "encrypted or not at all.",
  args: [{ name: "folder", description: "where to look; the current folder unless given" }],
  folderOption,
  options: convertOptions,
  examples: ["kws convert kustomize", "kws convert kustomize k8s -o deploy"],
  async run({ args: [folder = "."], options }, ctx) {
    const from = resolve(ctx.cwd, folder);
    const { path } = await locateTool("kubectl", {
      env: ctx.env,
      cache: ctx.locations.cache,
      signal: ctx.signal,
    });
    const conversion = await convertKustomize(from, {
      kubectl: path,
      env: ctx.childEnv,
      signal: ctx.signal,
      root: targetFolder(ctx, options) ?? from,
    });
    if (conversion.services.length === 0 && conversion.findings.length === 0) {
      throw new UserError(`${from} holds no kustomization`, {
        code: "not-found",
        fix: "Name the folder that has one.",
      });
    }
    return finish(ctx, conversion, options);
  },
});
