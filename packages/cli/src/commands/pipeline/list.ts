import { listRuns, type Run, runStates } from "@kws/api/runs";
import { defineCommand } from "../../command.ts";
import { runTable } from "../../runs.ts";
import { serverClient } from "../../server.ts";

const usual = 30;

export const command = defineCommand({
  summary: "the runs on the server, the newest first",
  options: {
    service: { type: "string", value: "name", description: "only of this service" },
    repository: { type: "string", value: "name", description: "only of this repository" },
    branch: { type: "string", value: "name", description: "only of this branch" },
    team: { type: "string", value: "name", description: "only of this team" },
    state: { type: "string", value: "state", choices: runStates, description: "only those in this state" },
    limit: { type: "number", value: "count", min: 1, description: `so many at most; ${usual} unless given` },
  },
  examples: ["kws pipeline list", "kws pipeline list --service orders --state failed"],
  async run({ options: { limit = usual, state, ...filter } }, ctx) {
    const client = await serverClient(ctx);
    const wanted = runStates.find((one) => one === state);
    const query = {
      ...filter,
      limit: Math.min(limit, 200),
      ...(wanted === undefined ? {} : { state: wanted }),
    };
    const runs: Run[] = [];
    for await (const run of client.all(listRuns, { query })) {
      runs.push(run);
      if (runs.length === limit) break;
    }
    return { data: { runs }, table: runTable(runs, ctx.style, ctx.clock()) };
  },
});
