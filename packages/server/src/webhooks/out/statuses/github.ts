/** docs.github.com, "REST API endpoints for commit statuses". */
import { cut } from "../template.ts";
import { apiUrl, jsonRequest, type StatusRequest } from "./status.ts";

const states = { running: "pending", succeeded: "success", failed: "failure", canceled: "error" } as const;

export const github: StatusRequest = ({ repository, commit, outcome, context, description, url }, access) => {
  const [owner = "", name = ""] = repository.split("/");
  return jsonRequest(
    apiUrl(access.api, "repos", owner, name, "statuses", commit),
    {
      accept: "application/vnd.github+json",
      authorization: `Bearer ${access.token}`,
      "x-github-api-version": "2022-11-28",
    },
    { state: states[outcome], context, description: cut(description, 140), target_url: url },
  );
};
