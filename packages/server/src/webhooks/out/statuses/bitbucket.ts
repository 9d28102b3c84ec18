/** developer.atlassian.com, Bitbucket Cloud, "Commit statuses": `POST …/commit/{commit}/statuses/build`. */
import { cut } from "../template.ts";
import { apiUrl, jsonRequest, type StatusRequest } from "./status.ts";
import { statusKey } from "./status-key.ts";

const states = {
  running: "INPROGRESS",
  succeeded: "SUCCESSFUL",
  failed: "FAILED",
  canceled: "STOPPED",
} as const;

export const bitbucket: StatusRequest = (
  { repository, commit, outcome, context, description, url },
  access,
) => {
  const [workspace = "", name = ""] = repository.split("/");
  return jsonRequest(
    apiUrl(access.api, "repositories", workspace, name, "commit", commit, "statuses", "build"),
    { authorization: `Bearer ${access.token}` },
    {
      key: statusKey(context, 40),
      name: context,
      state: states[outcome],
      description: cut(description, 255),
      url,
    },
  );
};
