import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { cloneStatus, distanceTo } from "@kws/platform/project/clone";
import { listRepositories, type WorkspaceRepository } from "@kws/platform/project/repositories";
import { defineCommand } from "../../command.ts";
import type { Context } from "../../context.ts";
import { gitSettings, repositoriesAtATime, shortFolder } from "../../repositories.ts";

export const command = defineCommand({
  summary: "the repositories of the workspace's services, and your clones of them",
  description:
    "For every repository: what its services are taken from, and how your clone of it stands to its upstream (as of the last fetch) " +
    "and to what kws.yaml pins.",
  examples: ["kws repo status", "kws repo status -o json"],
  async run(_input, ctx) {
    const repositories = await listRepositories(await ctx.project());
    const limit = limiter(repositoriesAtATime);
    const data = await Promise.all(repositories.map((one) => limit(() => describe(ctx, one))));
    if (data.length === 0) return { data, text: "No service of the workspace is in a git repository." };
    const { style } = ctx;
    return {
      data,
      table: {
        columns: ["REPOSITORY", "SERVICES", "USES", "PATH", "BRANCH", "UPSTREAM", "CHANGES", "PINS"],
        rows: data.map(({ path, changes, ...one }) => [
          one.repository,
          one.services.length > 3 ? `${one.services.length} services` : one.services.join(", "),
          one.uses,
          shortFolder(ctx, path),
          one.error === undefined ? (one.branch ?? one.commit?.slice(0, 10) ?? "") : style.red(one.error),
          one.ahead === undefined ? "" : distance(one.ahead, one.behind ?? 0),
          changes === undefined || changes === 0 ? "" : style.yellow(String(changes)),
          one.pins
            .map(
              (pin) =>
                `${pin.ref}${pin.ahead === undefined ? "" : ` (${distance(pin.ahead, pin.behind ?? 0)})`}`,
            )
            .join(", "),
        ]),
      },
    };
  },
});

interface Described {
  repository: string;
  uses: WorkspaceRepository["uses"];
  services: string[];
  path?: string;
  branch?: string;
  commit?: string;
  ahead?: number;
  behind?: number;
  changes?: number;
  pins: { ref: string; ahead?: number; behind?: number }[];
  error?: string;
}

async function describe(ctx: Context, one: WorkspaceRepository): Promise<Described> {
  const { repository, uses, dir } = one;
  const services = one.services.map(({ name }) => name);
  const refs = [...new Set(one.services.flatMap(({ pin }) => (pin === undefined ? [] : [pin.ref])))];
  const known = { repository, uses, services, pins: refs.map((ref) => ({ ref })) };
  if (dir === undefined) return known;
  const settings = gitSettings(ctx);
  try {
    const { branch, commit, upstream, changes } = await cloneStatus(dir, settings);
    const pins = refs.map(async (ref) => Object.assign({ ref }, await distanceTo(dir, ref, settings)));
    return {
      ...known,
      path: dir,
      ...(branch === undefined ? {} : { branch }),
      commit,
      ...(upstream === undefined ? {} : { ahead: upstream.ahead, behind: upstream.behind }),
      changes,
      pins: await Promise.all(pins),
    };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { ...known, path: dir, error: error.message };
  }
}

function distance(ahead: number, behind: number): string {
  if (ahead + behind === 0) return "even";
  return [ahead > 0 ? `${ahead} ahead` : "", behind > 0 ? `${behind} behind` : ""]
    .filter((part) => part !== "")
    .join(", ");
}
