/** What a service may run with: the values of its release's newest revision, and of older ones while their pods may be there. */
import { UserError } from "@kws/base/errors";
import type { KubeClient } from "@kws/kube/client";
import { secrets } from "@kws/kube/resources";
import type { Values } from "../charts/layers.ts";
import { partVersionPrefix } from "../services/labels.ts";
import { listRevisions, type Release } from "../services/releases.ts";
import { readRevision } from "../services/revision.ts";
import { serviceStatuses } from "../services/status.ts";

export interface Place {
  namespace: string;
  profile: string;
  service: string;
  signal: AbortSignal;
}

/** The newest first; none where the service has no release. Throws `conflict` where it was deployed with another profile. */
export async function runningValues(client: KubeClient, place: Place): Promise<Values[]> {
  const { namespace, profile, service, signal } = place;
  const revisions = await listRevisions(client, { namespace, release: service, signal });
  const [newest] = revisions;
  if (newest === undefined) {
    const shared = { labelSelector: `owner=helm,${partVersionPrefix}${service}`, signal };
    if ((await client.list(secrets, namespace, shared)).items.length === 0) return [];
    throw new UserError(`${service} runs in ${namespace} in the one release of a manifest`, {
      code: "conflict",
      fix: "A credential moves from service to service: install the manifest with --per-service.",
    });
  }
  if (newest.profile !== profile) {
    const other = newest.profile === "" ? "" : `, but with ${newest.profile}`;
    throw new UserError(`${service} does not run in ${namespace} with the profile ${profile}${other}`, {
      code: "conflict",
      fix: `Deploy it with that profile, or name another one with -p.`,
    });
  }
  const [status] = await serviceStatuses(client, [newest], { signal });
  const may = possible(revisions, status?.state === "ready");
  const contents = await Promise.all(may.map((revision) => readRevision(client, revision)));
  return contents.flatMap((content) => (content === undefined ? [] : [content.values]));
}

/** Down to the last one that is known to have replaced all before it. */
function possible(revisions: Release[], newestIsReady: boolean): Release[] {
  if (newestIsReady) return revisions.slice(0, 1);
  const good = revisions.findIndex(({ workloads }, index) => index > 0 && workloads !== undefined);
  return good === -1 ? revisions : revisions.slice(0, good + 1);
}
