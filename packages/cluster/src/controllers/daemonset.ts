/** One pod on every node that suits (https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/). */
import { messageOf } from "@kws/base/errors";
import { isSame } from "@kws/kube/cached";
import { controllerOf, keyOf, type KubeObject } from "@kws/kube/object";
import {
  controllerRevisions,
  daemonSets,
  nodes as nodeResource,
  pods as podResource,
} from "@kws/kube/resources";
import { selects, toRequirements, type LabelSelector } from "@kws/kube/selector";
import type { Node } from "../scheduler/node-info.ts";
import { untolerated, wantsNode } from "../scheduler/terms.ts";
import { claim } from "./adoption.ts";
import { byController, watch, type Controller, type ControllerContext } from "./context.ts";
import { isAvailable, isReady, nextAvailable, podFromTemplate, type Pod, type PodTemplate } from "./pods.ts";
import { candidatesOf, positive } from "./replicaset.ts";
import {
  hashOfRevision,
  revisionLabel,
  syncRevisions,
  trimRevisions,
  type ControllerRevision,
} from "./revisions.ts";
import { absolute } from "./rollout.ts";

export interface DaemonSet extends KubeObject {
  spec: {
    selector: LabelSelector;
    template: PodTemplate;
    updateStrategy?: {
      type?: string;
      rollingUpdate?: { maxUnavailable?: number | string; maxSurge?: number | string };
    };
    minReadySeconds?: number;
    revisionHistoryLimit?: number;
  };
}

/** Taints of a troubled node that keep ordinary pods away, but not daemons. */
const tolerations = [
  ["node.kubernetes.io/not-ready", "NoExecute"],
  ["node.kubernetes.io/unreachable", "NoExecute"],
  ["node.kubernetes.io/disk-pressure", "NoSchedule"],
  ["node.kubernetes.io/memory-pressure", "NoSchedule"],
  ["node.kubernetes.io/pid-pressure", "NoSchedule"],
  ["node.kubernetes.io/unschedulable", "NoSchedule"],
].map(([key, effect]) => ({ key, effect, operator: "Exists" }));

export function daemonSetController(ctx: ControllerContext): Controller {
  const sets = ctx.resource<DaemonSet>(daemonSets);
  const pods = ctx.resource<Pod>(podResource);
  const nodes = ctx.resource<Node>(nodeResource);
  const revisions = ctx.resource<ControllerRevision>(controllerRevisions);
  const recorder = ctx.recorder("daemonset-controller");

  const setsOf = (pod: Pod): string[] => {
    if (controllerOf(pod) !== undefined) return byController("DaemonSet")(pod);
    return sets
      .list(pod.metadata.namespace)
      .filter((set) => selects(set.spec.selector, pod.metadata.labels))
      .map(keyOf);
  };
  const placement = ({ metadata, spec }: Node): unknown => [
    metadata.labels,
    spec?.taints,
    spec?.unschedulable,
  ];

  return {
    name: "daemonset-controller",
    watches: [
      watch(sets),
      watch(pods, setsOf),
      watch(
        nodes,
        () => sets.list().map(keyOf),
        (node, old) => !isSame(placement(node), placement(old)),
      ),
    ],
    async reconcile({ namespace, name }) {
      const set = sets.get(name, namespace);
      if (set === undefined || toRequirements(set.spec.selector).length === 0) return;
      const { update, all } = await syncRevisions(revisions, set, set.spec.selector.matchLabels ?? {});
      const hash = hashOfRevision(update);
      const claimed = await claim({
        client: ctx.client,
        owner: set,
        ownerResource: daemonSets,
        cached: pods,
        candidates: candidatesOf(pods, set, toRequirements(set.spec.selector)),
        selected: (pod) => selects(set.spec.selector, pod.metadata.labels),
      });
      let failure: unknown;
      if (set.metadata.deletionTimestamp === undefined) {
        try {
          await place(set, claimed, hash);
          await roll(set, pods.ownedBy(set.metadata.uid), hash);
        } catch (error) {
          failure = error;
        }
      }
      const owned = pods.ownedBy(set.metadata.uid);
      await sets.updateStatus(set, daemonSetStatus(set, owned, nodes.list(), hash, ctx.now()));
      const used = new Set(owned.map((pod) => pod.metadata.labels?.[revisionLabel] ?? ""));
      await trimRevisions(
        revisions,
        all.filter((revision) => revision !== update),
        used,
        set.spec.revisionHistoryLimit ?? 10,
      );
      if (failure !== undefined) throw failure;
      return { requeueAfter: nextAvailable(owned, set.spec.minReadySeconds ?? 0, ctx.now()) };
    },
  };

  /** A pod where one is missing; none where it does not belong, nor twice, nor dead. */
  async function place(set: DaemonSet, claimed: Pod[], hash: string): Promise<void> {
    const byNode = Map.groupBy(claimed, nodeOf);
    for (const node of nodes.list()) {
      const { run, stay } = suits(set, node);
      const here = (byNode.get(node.metadata.name) ?? []).filter(
        (pod) => pod.metadata.deletionTimestamp === undefined,
      );
      const dead = here.filter((pod) => ["Failed", "Succeeded"].includes(pod.status?.phase ?? ""));
      for (const pod of dead) {
        const message = `Found failed daemon pod ${keyOf(pod)} on node ${node.metadata.name}, will try to kill it`;
        recorder.event(set, "Warning", "FailedDaemonPod", message);
        await remove(set, pod);
      }
      const alive = here.filter((pod) => !dead.includes(pod));
      const leaving = (byNode.get(node.metadata.name) ?? []).length - here.length;
      if (run && alive.length === 0 && leaving + dead.length === 0) await create(set, node, hash);
      if (!stay) for (const pod of alive) await remove(set, pod);
      else if (surgeOf(set, 1) === 0) for (const pod of oldestFirst(alive).slice(1)) await remove(set, pod);
    }
  }

  async function roll(set: DaemonSet, owned: Pod[], hash: string): Promise<void> {
    if (set.spec.updateStrategy?.type === "OnDelete") return;
    const wanted = nodes.list().filter((node) => suits(set, node).run);
    const maxSurge = surgeOf(set, wanted.length);
    const { maxUnavailable = 1 } = set.spec.updateStrategy?.rollingUpdate ?? {};
    const budget = Math.max(maxSurge > 0 ? 0 : 1, absolute(maxUnavailable, wanted.length, "up"));
    const isUp = (pod: Pod): boolean =>
      pod.metadata.deletionTimestamp === undefined &&
      isAvailable(pod, set.spec.minReadySeconds ?? 0, ctx.now());
    const byNode = Map.groupBy(owned, nodeOf);
    let unavailable = wanted.filter((node) => !(byNode.get(node.metadata.name) ?? []).some(isUp)).length;
    let surging = wanted.filter((node) => (byNode.get(node.metadata.name) ?? []).length > 1).length;
    for (const node of wanted) {
      const here = (byNode.get(node.metadata.name) ?? []).filter(
        (pod) => pod.metadata.deletionTimestamp === undefined,
      );
      const fresh = here.find((pod) => pod.metadata.labels?.[revisionLabel] === hash);
      for (const pod of here.filter((one) => one.metadata.labels?.[revisionLabel] !== hash)) {
        if (maxSurge > 0 && isUp(pod)) {
          if (fresh === undefined && surging < maxSurge) {
            surging += 1;
            await create(set, node, hash);
          } else if (fresh !== undefined && isUp(fresh)) await remove(set, pod);
        } else if (!isUp(pod)) {
          await remove(set, pod);
        } else if (unavailable < budget) {
          unavailable += 1;
          await remove(set, pod);
        }
      }
    }
  }

  async function create(set: DaemonSet, node: Node, hash: string): Promise<void> {
    try {
      const pod = await pods.create(desiredPod(set, node.metadata.name, hash));
      recorder.event(set, "Normal", "SuccessfulCreate", `Created pod: ${pod.metadata.name}`);
    } catch (error) {
      recorder.event(set, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
      throw error;
    }
  }

  async function remove(set: DaemonSet, pod: Pod): Promise<void> {
    await pods.delete(pod);
    recorder.event(set, "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata.name}`);
  }
}

function surgeOf(set: DaemonSet, nodes: number): number {
  return absolute(set.spec.updateStrategy?.rollingUpdate?.maxSurge ?? 0, nodes, "up");
}

function oldestFirst(pods: Pod[]): Pod[] {
  const age = (pod: Pod): string => pod.metadata.creationTimestamp ?? "";
  return [...pods].sort((a, b) => Number(isReady(b)) - Number(isReady(a)) || age(a).localeCompare(age(b)));
}

/** Whether a node should get the set's pod, and whether one that is there may stay. */
export function suits(set: DaemonSet, node: Node): { run: boolean; stay: boolean } {
  const pod = desiredPod(set, node.metadata.name, "");
  // The affinity to the one node is ours; what counts is what the template says.
  const asked: Pod = {
    ...pod,
    spec: { ...pod.spec, affinity: set.spec.template.spec["affinity"] as unknown },
  };
  if (!wantsNode(asked, node)) return { run: false, stay: false };
  return {
    run: untolerated(asked, node, ["NoSchedule", "NoExecute"]) === undefined,
    stay: untolerated(asked, node, ["NoExecute"]) === undefined,
  };
}

/** The node a pod is on, or is bound for by its affinity. */
function nodeOf(pod: Pod): string {
  const terms = pod.spec["affinity"]?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
    ?.nodeSelectorTerms as { matchFields?: { key: string; values: string[] }[] }[] | undefined;
  const field = terms?.flatMap((term) => term.matchFields ?? []).find(({ key }) => key === "metadata.name");
  return pod.spec.nodeName ?? field?.values[0] ?? "";
}

export function desiredPod(set: DaemonSet, nodeName: string, hash: string): Pod {
  const pod = podFromTemplate(set, set.spec.template);
  pod.metadata.labels = { ...pod.metadata.labels, [revisionLabel]: hash };
  const matchFields = [{ key: "metadata.name", operator: "In", values: [nodeName] }];
  const affinity = (pod.spec["affinity"] ?? {}) as { nodeAffinity?: Record<string, unknown> };
  const required = affinity.nodeAffinity?.["requiredDuringSchedulingIgnoredDuringExecution"] as
    | { nodeSelectorTerms: object[] }
    | undefined;
  const terms = (required?.nodeSelectorTerms ?? [{}]).map((term) => Object.assign({}, term, { matchFields }));
  pod.spec["affinity"] = {
    ...affinity,
    nodeAffinity: {
      ...affinity.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms },
    },
  };
  const host = pod.spec["hostNetwork"] === true;
  const network = { key: "node.kubernetes.io/network-unavailable", effect: "NoSchedule", operator: "Exists" };
  const present = (pod.spec["tolerations"] ?? []) as { key?: string; effect?: string; operator?: string }[];
  const added = [...tolerations, ...(host ? [network] : [])].filter(
    (toleration) =>
      !present.some((other) => other.key === toleration.key && other.effect === toleration.effect),
  );
  pod.spec["tolerations"] = [...present, ...added];
  return pod;
}

export function daemonSetStatus(
  set: DaemonSet,
  owned: Pod[],
  nodes: Node[],
  hash: string,
  now: number,
): object {
  const byNode = Map.groupBy(owned, nodeOf);
  const count = { desired: 0, current: 0, misscheduled: 0, ready: 0, available: 0, updated: 0 };
  for (const node of nodes) {
    const here = oldestFirst(byNode.get(node.metadata.name) ?? []);
    if (!suits(set, node).run) {
      if (here.length > 0) count.misscheduled += 1;
      continue;
    }
    count.desired += 1;
    const [pod] = here;
    if (pod === undefined) continue;
    count.current += 1;
    if (here.some((one) => one.metadata.labels?.[revisionLabel] === hash)) count.updated += 1;
    if (!isReady(pod)) continue;
    count.ready += 1;
    if (isAvailable(pod, set.spec.minReadySeconds ?? 0, now)) count.available += 1;
  }
  return {
    currentNumberScheduled: count.current,
    numberMisscheduled: count.misscheduled,
    desiredNumberScheduled: count.desired,
    numberReady: count.ready,
    ...positive("observedGeneration", set.metadata.generation ?? 0),
    ...positive("updatedNumberScheduled", count.updated),
    ...positive("numberAvailable", count.available),
    ...positive("numberUnavailable", count.desired - count.available),
    ...(set["status"]?.conditions === undefined ? {} : { conditions: set["status"].conditions as unknown }),
  };
}
