/** docs.gitlab.com, "Commits API", "Set commit pipeline status". */
import { cut } from "../template.ts";
import { apiUrl, jsonRequest, type StatusRequest } from "./status.ts";

const states = { running: "running", succeeded: "success", failed: "failed", canceled: "canceled" } as const;

export const gitlab: StatusRequest = ({ repository, commit, outcome, context, description, url }, access) =>
  jsonRequest(
    apiUrl(access.api, "projects", repository, "statuses", commit),
    { "private-token": access.token },
    { state: states[outcome], name: context, description: cut(description, 255), target_url: url },
  );
