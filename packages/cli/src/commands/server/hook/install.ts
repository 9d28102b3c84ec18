import { resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import { installHook } from "@kws/server/webhooks/in/hook";
import { defineCommand } from "../../../command.ts";
import { givenText } from "../../../secrets.ts";

export const command = defineCommand({
  summary: "have a plain git repository tell a server of pushes",
  description:
    "Writes a post-receive hook into a repository that people push to, and beside it a file with the webhook's secret that its owner " +
    "alone can read. The secret is read from standard input. A push succeeds also where the server cannot be told of it; the person " +
    "who pushes is told so.",
  args: [{ name: "path", description: "the repository, usually a bare one", required: true }],
  options: {
    endpoint: {
      type: "string",
      value: "url",
      description: "the webhook's address, as it was shown when it was made",
    },
    name: {
      type: "string",
      value: "name",
      description: "what the repository is called, such as `acme/shop`",
    },
    url: { type: "string", value: "url", description: "where it is cloned from; its path unless given" },
  },
  examples: [
    "kws server hook install /srv/git/shop.git --endpoint https://kws.example.com/webhooks/ID --name acme/shop < secret.txt",
  ],
  async run({ args: [path = ""], options: { endpoint, name, url } }, ctx) {
    if (endpoint === undefined || name === undefined) {
      throw new UserError("--endpoint and --name are needed", {
        code: "usage",
        fix: "Give the webhook's address and the repository's name.",
      });
    }
    const repository = resolve(ctx.cwd, path);
    const secret = await givenText(ctx);
    const target = { endpoint, secret, repository: { name, url: url ?? repository } };
    const data = await installHook(repository, target, [ctx.nodePath, ctx.program], ctx.childEnv);
    return { data, text: `${data.hook} tells ${new URL(endpoint).host} of pushes.` };
  },
});
