import { resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import { convertCompose } from "@kws/platform/convert/compose/convert";
import { composeFiles } from "@kws/platform/convert/compose/detect";
import { defineCommand } from "../../command.ts";
import { convertOptions, finish, folderOption, targetFolder } from "../../converting.ts";

export const command = defineCommand({
  summary: "make a workspace of a Compose file",
  description:
    "Makes a chart and a kws.yaml of every service of a Compose file, and a kws.yaml of the workspace. Takes compose.yaml or docker-compose.yml " +
    "of the folder, with its override file, unless files are named: later ones are put over the first. What cannot be carried over is " +
    "told with its key and place; the exit code is 3 where something has to be done before it works. Secrets are written encrypted or " +
    "not at all.",
  args: [
    {
      name: "file",
      description: "Compose files, the first of which decides what paths go from",
      variadic: true,
    },
  ],
  folderOption,
  options: {
    ...convertOptions,
    "env-file": {
      type: "list",
      value: "path",
      description: "where variables come from, instead of .env; may be repeated",
    },
  },
  examples: ["kws convert compose", "kws convert compose compose.yaml compose.prod.yaml -o deploy"],
  async run({ args, options }, ctx) {
    const files = args.length === 0 ? composeFiles(ctx.cwd) : args.map((file) => resolve(ctx.cwd, file));
    if (files.length === 0) {
      throw new UserError(`${ctx.cwd} holds no Compose file`, {
        code: "not-found",
        fix: "Name one: kws convert compose FILE.",
      });
    }
    const root = targetFolder(ctx, options);
    const envFiles = options["env-file"]?.map((file) => resolve(ctx.cwd, file));
    const conversion = await convertCompose(files, {
      env: ctx.env,
      home: ctx.home,
      ...(root === undefined ? {} : { root }),
      ...(envFiles === undefined ? {} : { envFiles }),
    });
    return finish(ctx, conversion, options);
  },
});
