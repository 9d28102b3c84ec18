import { exitCodes } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { pullClone } from "@kws/platform/project/clone";
import { listRepositories } from "@kws/platform/project/repositories";
import { defineCommand } from "../../command.ts";
import { gitSettings, repositoriesAtATime, shortFolder } from "../../repositories.ts";

export const command = defineCommand({
  summary: "bring the clones of the workspace's services up to date",
  description:
    "Fetches every clone that `kws repo status` has a path for, and forwards its branch to its upstream. What that could not do " +
    "without a merge is left as it is and said: uncommitted changes, branches that diverged, no branch or no upstream. No hooks run. " +
    "Exits with 1 where a repository could not be asked.",
  examples: ["kws repo pull"],
  async run(_input, ctx) {
    const repositories = await listRepositories(await ctx.project());
    const dirs = [...new Set(repositories.flatMap(({ dir }) => (dir === undefined ? [] : [dir])))];
    const limit = limiter(repositoriesAtATime);
    const steps = ctx.steps();
    const data = await Promise.all(
      dirs.map((path) =>
        limit(() =>
          steps.run({ id: path, title: `pull ${shortFolder(ctx, path)}` }, async (step) => {
            const { outcome, note } = await pullClone(path, gitSettings(ctx));
            if (outcome === "updated") step.note(note);
            else step.skip(note === "" ? outcome : `${outcome}: ${note}`);
            return { path, outcome, note };
          }),
        ),
      ),
    );
    const failed = data.some(({ outcome }) => outcome === "failed");
    return {
      data,
      table: {
        columns: ["PATH", "OUTCOME", "NOTE"],
        rows: data.map(({ path, outcome, note }) => [
          shortFolder(ctx, path),
          outcome === "failed" ? ctx.style.red(outcome) : outcome,
          note,
        ]),
      },
      exitCode: failed ? exitCodes.failed : exitCodes.ok,
    };
  },
});
