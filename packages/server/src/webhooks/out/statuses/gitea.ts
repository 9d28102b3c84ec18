/** docs.gitea.com, API, `POST /repos/{owner}/{repo}/statuses/{sha}`; Forgejo has the same. */
import { cut } from "../template.ts";
import { apiUrl, jsonRequest, type StatusRequest } from "./status.ts";

const states = { running: "pending", succeeded: "success", failed: "failure", canceled: "error" } as const;

export const gitea: StatusRequest = ({ repository, commit, outcome, context, description, url }, access) => {
  const [owner = "", name = ""] = repository.split("/");
  return jsonRequest(
    apiUrl(access.api, "repos", owner, name, "statuses", commit),
    { authorization: `token ${access.token}` },
    { state: states[outcome], context, description: cut(description, 255), target_url: url },
  );
};
