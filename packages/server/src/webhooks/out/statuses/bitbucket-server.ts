/** developer.atlassian.com, Bitbucket Data Center, "Build status": `POST /rest/build-status/1.0/commits/{commit}`. */
import { cut } from "../template.ts";
import { apiUrl, jsonRequest, type StatusRequest } from "./status.ts";
import { statusKey } from "./status-key.ts";

/** It knows no run that was canceled. */
const states = {
  running: "INPROGRESS",
  succeeded: "SUCCESSFUL",
  failed: "FAILED",
  canceled: "FAILED",
} as const;

export const bitbucketServer: StatusRequest = ({ commit, outcome, context, description, url }, access) =>
  jsonRequest(
    apiUrl(access.api, "rest", "build-status", "1.0", "commits", commit),
    { authorization: `Bearer ${access.token}` },
    {
      key: statusKey(context, 255),
      name: cut(context, 255),
      state: states[outcome],
      description: cut(description, 255),
      url,
    },
  );
