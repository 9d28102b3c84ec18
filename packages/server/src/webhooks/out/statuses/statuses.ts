/** How each forge is told a commit's status. Plain git has nowhere to show it. */
import type { ForgeName } from "@kws/api/webhooks";
import { bitbucket } from "./bitbucket.ts";
import { bitbucketServer } from "./bitbucket-server.ts";
import { gitea } from "./gitea.ts";
import { github } from "./github.ts";
import { gitlab } from "./gitlab.ts";
import type { StatusRequest } from "./status.ts";

export const statuses: Record<Exclude<ForgeName, "git">, StatusRequest> = {
  github,
  gitlab,
  bitbucket,
  "bitbucket-server": bitbucketServer,
  gitea,
};
