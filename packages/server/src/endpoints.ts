/** Everything that the server answers, and every workflow that it can take up: a new noun adds itself here. */
import { streamEvents } from "@kws/api/events";
import { accessEndpoints } from "./access/endpoints.ts";
import { auditEndpoints } from "./audit/endpoints.ts";
import { type Endpoint, streaming } from "./http/handlers.ts";
import { repositoryEndpoints } from "./repositories/endpoints.ts";
import { syncRepository } from "./repositories/sync.ts";
import type { Workflow } from "./workflows/workflow.ts";

export const endpoints: readonly Endpoint[] = [
  ...accessEndpoints,
  ...auditEndpoints,
  streaming(streamEvents, async function* ({ query, after, signal }, { feed }) {
    for await (const item of feed.read(after, query, signal))
      yield item === undefined ? undefined : { id: item.id, item };
  }),
  ...repositoryEndpoints,
];

export const workflows = [syncRepository] as readonly Workflow[];
