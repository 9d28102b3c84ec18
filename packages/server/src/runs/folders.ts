/** Where runs have their files: logs and artefacts stay, sources can be made again. */
import { join } from "node:path";
import { openRuns, type Runs } from "@kws/platform/pipeline/runs";
import type { ServerContext } from "../context.ts";
import { serverFolder } from "../state.ts";

export function runFiles({ locations }: Pick<ServerContext, "locations">): Runs {
  return openRuns(serverFolder(locations.data));
}

export function sourceFolder({ cache }: Pick<ServerContext, "cache">, run: string): string {
  return join(cache, "runs", run);
}
