/** The forges that deliveries are taken from, by the name that a webhook is made with. */
import type { ForgeName } from "@kws/api/webhooks";
import { bitbucket } from "./bitbucket.ts";
import { bitbucketServer } from "./bitbucket-server.ts";
import type { Forge } from "./forge.ts";
import { git } from "./git.ts";
import { gitea } from "./gitea.ts";
import { github } from "./github.ts";
import { gitlab } from "./gitlab.ts";

export const forges: Record<ForgeName, Forge> = {
  github,
  gitlab,
  bitbucket,
  "bitbucket-server": bitbucketServer,
  gitea,
  git,
};
