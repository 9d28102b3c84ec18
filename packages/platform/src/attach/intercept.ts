/**
 * An intercept: a proxy in the place of a service's pods sends connections to a process on this machine for as long as its
 * tunnel stands, and to the pods otherwise. This side keeps the tunnel and puts the proxy and the Service right again whenever
 * somebody changed them; ending it gives the Service back.
 */
import { randomBytes } from "node:crypto";
import { messageOf, UserError } from "@kws/base/errors";
import { silent } from "@kws/base/logger";
import { sleep } from "@kws/base/retry";
import type { Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import type { PodPort } from "@kws/kube/port-forward";
import {
  deployments,
  endpointSlices,
  leases,
  pods,
  roleBindings,
  roles,
  secrets,
  serviceAccounts,
  services,
} from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { listWatch } from "@kws/kube/watch";
import { fieldManager, serviceLabel } from "../services/labels.ts";
import {
  describeHolder,
  heldSince,
  type HeldLease,
  type Holder,
  holdLease,
  identityOf,
  isHeld,
  tryTakeLease,
} from "../services/lease.ts";
import { findPort, portsOf } from "./backends.ts";
import type { Cluster } from "./cluster.ts";
import { openLaptop } from "./laptop.ts";
import { namesOf, originalService, programSecret, proxyDeployment, selfRemoval } from "./objects.ts";
import { clusterProgram } from "./program.ts";
import type { ProxyConfig } from "./proxy/main.ts";
import { proxyLabel } from "./proxy/restore.ts";
import { endIntercept, giveServiceBack, isTaken, originalSelector, takeService } from "./take.ts";

export interface InterceptOptions {
  cluster: Cluster;
  service: string;
  namespace: string;
  /** The Kubernetes Service that leads to it. */
  object: KubeObject;
  /** The Service's port or that port's name. */
  remote: number | string;
  local: { host: string; port: number };
  /** Of the requests that are meant; all of them where there is none. */
  headers: Record<string, string>;
  /** With a Node. */
  image: string;
  /** How long the proxy stays where nobody is there any more. */
  graceMs: number;
  holder: Holder;
  /** Ends the session of whoever has the service. */
  takeOver: boolean;
  /** For the proxy to run. */
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  signal: AbortSignal;
  onEvent: (event: InterceptEvent) => void;
}

export type InterceptEvent =
  /** Requests come to this machine. */
  | { kind: "intercepting" }
  /** The way to the cluster is lost: the pods answer until it is there again. */
  | { kind: "lost"; reason: string }
  /** Nothing listens on this machine: the pods answer. */
  | { kind: "unanswered" }
  | { kind: "connection" }
  | { kind: "problem"; message: string };

export interface Intercept extends AsyncDisposable {
  /** Resolves with what ended it from elsewhere. */
  ended: Promise<UserError>;
}

/** Resolves when requests come. Throws, with all given back, where that cannot be had. */
export async function startIntercept(options: InterceptOptions): Promise<Intercept> {
  const plan = await planProxy(options);
  const lease = await takeLease(options);
  const session = new Session(options, plan, lease);
  try {
    await session.begin();
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
  return session;
}

interface ProxyPlan {
  config: ProxyConfig;
  portNames: Record<number, string>;
  /** Of the Service that leads to the pods. */
  ports: { name: string; port: number; targetPort: number | string }[];
}

const firstControlPort = 15_900;

/** What the proxy has to listen on: all that the Service leads to its pods. */
async function planProxy({
  cluster,
  service,
  namespace,
  object,
  ...options
}: InterceptOptions): Promise<ProxyPlan> {
  const name = object.metadata.name;
  const ports = portsOf(object);
  const intercepted = findPort(object, options.remote);
  const other = ports.find(({ protocol = "TCP" }) => protocol !== "TCP");
  if (other !== undefined) {
    throw new UserError(`the Service ${name} has the ${other.protocol} port ${other.port}`, {
      fix: "Only Services whose ports are all TCP can be intercepted.",
    });
  }
  if (Object.keys(originalSelector(object)).length === 0) {
    throw new UserError(`the Service ${name} selects no pods`, {
      fix: "Only Services that lead to pods of their cluster can be intercepted.",
    });
  }
  const { items } = await cluster.client.list(endpointSlices, namespace, {
    labelSelector: `kubernetes.io/service-name=${name}`,
    signal: options.signal,
  });
  const known = items.flatMap((slice) => (slice["ports"] ?? []) as { name?: string; port?: number }[]);
  const portNames: Record<number, string> = {};
  const config: ProxyConfig = {
    token: randomBytes(24).toString("hex"),
    control: 0,
    ports: [],
    host: namesOf(service, namespace).name,
    headers: options.headers,
    graceMs: options.graceMs,
    service: `/api/v1/namespaces/${namespace}/services/${name}`,
    own: `/api/v1/namespaces/${namespace}/secrets/${namesOf(service, namespace).name}`,
  };
  for (const port of ports) {
    const target = port.targetPort ?? port.port;
    const listen =
      typeof target === "number" ? target : known.find((one) => (one.name ?? "") === (port.name ?? ""))?.port;
    if (listen === undefined) {
      throw new UserError(`no pod of ${service} is ready, and only they know the port "${target}"`, {
        fix: `See \`kws service status ${service}\`.`,
      });
    }
    if (typeof target === "string") portNames[listen] = target;
    const same = config.ports.find((one) => one.listen === listen);
    const wanted = port === intercepted;
    if (same === undefined) config.ports.push({ listen, original: port.port, intercepted: wanted });
    else same.intercepted ||= wanted;
  }
  let control = firstControlPort;
  while (config.ports.some(({ listen }) => listen === control)) control++;
  config.control = control;
  return {
    config,
    portNames,
    ports: ports.map(({ port, targetPort = port }) => ({ name: `port-${port}`, port, targetPort })),
  };
}

async function takeLease(options: InterceptOptions): Promise<HeldLease> {
  const { cluster, service, namespace, holder, takeOver, clock } = options;
  const lease = {
    ...options,
    client: cluster.client,
    name: namesOf(service, namespace).name,
    labels: { [serviceLabel]: service },
  };
  const other = await tryTakeLease(lease);
  if (other !== undefined) {
    const taken = () =>
      new UserError(`${describeHolder(other)} intercepts ${service} since ${heldSince(other)}`, {
        code: "conflict",
        fix: `Ask them, or take it over with --take-over.`,
      });
    if (!takeOver && isHeld(other, holder.host, clock())) throw taken();
    if ((await tryTakeLease(lease, other.metadata.resourceVersion)) !== undefined) throw taken();
  }
  return holdLease({
    ...lease,
    until: "taken",
    lost: (why) =>
      new UserError(`${service} is not intercepted by you any more: ${why}`, {
        code: "conflict",
        fix: "Begin again with the same command.",
      }),
  });
}

const firstPauseMs = 200;
const lastPauseMs = 5000;

class Session implements Intercept {
  readonly ended: Promise<UserError>;
  readonly #options: InterceptOptions;
  readonly #plan: ProxyPlan;
  readonly #lease: HeldLease;
  readonly #over = new AbortController();
  readonly #background: Promise<unknown>[] = [];
  readonly #since: string;
  #connected = false;
  #answered = true;

  constructor(options: InterceptOptions, plan: ProxyPlan, lease: HeldLease) {
    this.#options = options;
    this.#plan = plan;
    this.#lease = lease;
    this.#since = new Date(options.clock()).toISOString();
    const ended = Promise.withResolvers<UserError>();
    this.ended = ended.promise;
    lease.signal.addEventListener("abort", () => ended.resolve(lease.signal.reason as UserError), {
      once: true,
    });
  }

  async begin(): Promise<void> {
    const { signal, timeoutMs, service, namespace } = this.#options;
    const timeout = AbortSignal.timeout(timeoutMs);
    const stop = AbortSignal.any([signal, timeout]);
    try {
      // The proxy of an earlier intercept is replaced: until the new one runs, the pods answer.
      await giveServiceBack(this.#options.cluster.client, this.#options.object);
      await this.#apply();
      const tunnel = await this.#connect(stop);
      this.#background.push(this.#keep(tunnel), this.#watch());
    } catch (error) {
      if (!timeout.aborted) throw error;
      throw new UserError(`the proxy for ${service} did not start in ${timeoutMs / 1000} s`, {
        code: "timeout",
        fix: `See \`kubectl describe pods -n ${namespace} -l ${proxyLabel}=${service}\`.`,
        cause: error,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { cluster, service, namespace, object } = this.#options;
    this.#connected = false;
    if (!this.#lease.signal.aborted) {
      await endIntercept(cluster.client, namesOf(service, namespace), object);
    }
    this.#over.abort(new Error("the intercept is over"));
    await this.#lease[Symbol.asyncDispose]();
    await Promise.allSettled(this.#background);
  }

  /** Makes all objects of the intercept what they are to be. */
  async #apply(): Promise<void> {
    const { cluster, service, namespace, object, image } = this.#options;
    const { config, portNames, ports } = this.#plan;
    const names = namesOf(service, namespace);
    const apply = (resource: Resource, desired: KubeObject) =>
      cluster.client.apply(resource, desired, { fieldManager, force: true });
    const current = await cluster.client.get(services, object.metadata.name, namespace);
    const program = await clusterProgram("intercept-proxy");
    const owner = await apply(secrets, programSecret(names, current, program, config));
    await apply(services, originalService(names, owner, originalSelector(current), ports));
    const removesItself = await this.#allowRemoval(owner, apply);
    await apply(
      deployments,
      proxyDeployment(names, owner, { image, main: program.main, config, portNames, removesItself }),
    );
  }

  /** False where the person may not hand out these rights: then the next kws gives back what is left. */
  async #allowRemoval(
    owner: KubeObject,
    apply: (resource: Resource, desired: KubeObject) => Promise<KubeObject>,
  ): Promise<boolean> {
    const { service, namespace, object } = this.#options;
    const kinds: Record<string, Resource> = {
      ServiceAccount: serviceAccounts,
      Role: roles,
      RoleBinding: roleBindings,
    };
    try {
      for (const desired of selfRemoval(namesOf(service, namespace), owner, object.metadata.name)) {
        const resource = kinds[desired.kind];
        if (resource !== undefined) await apply(resource, desired);
      }
      return true;
    } catch (error) {
      if (!isApiError(error, "Forbidden")) throw error;
      return false;
    }
  }

  /** The tunnel, once the proxy runs; the Service leads to the proxy then. */
  async #connect(signal: AbortSignal): Promise<{ closed: Promise<void> }> {
    const { cluster, local } = this.#options;
    let last: unknown;
    for (let pause = firstPauseMs; ; pause = Math.min(pause * 2, lastPauseMs)) {
      try {
        const pod = await this.#proxyPod(signal);
        if (pod !== undefined) {
          const tunnel = await openLaptop({
            cluster,
            pod,
            local: async () => local,
            token: this.#plan.config.token,
            signal: this.#over.signal,
            onConnection: (taken) => this.#onConnection(taken),
          });
          this.#connected = true;
          await this.#take();
          if (!signal.aborted) this.#options.onEvent({ kind: "intercepting" });
          return tunnel;
        }
        // Somebody removed it, or it removed itself while this machine slept.
        const { name, namespace } = this.#names;
        if ((await cluster.client.find(secrets, name, namespace)) === undefined && (await this.#isOurs())) {
          await this.#apply();
        }
      } catch (error) {
        if (signal.aborted) throw last ?? error;
        last = error;
      }
      await sleep(Math.min(pause, 1000), signal);
    }
  }

  get #names() {
    return namesOf(this.#options.service, this.#options.namespace);
  }

  async #proxyPod(signal: AbortSignal): Promise<PodPort | undefined> {
    const { cluster, service, namespace } = this.#options;
    const { config } = this.#plan;
    const { items } = await cluster.client.list(pods, namespace, {
      labelSelector: `${proxyLabel}=${service}`,
      signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
    });
    const pod = items.find(
      ({ metadata, status }) =>
        metadata.deletionTimestamp === undefined &&
        metadata.annotations?.["kws.dev/intercept-token"] === config.token.slice(0, 8) &&
        ((status?.conditions ?? []) as { type: string; status: string }[]).some(
          (condition) => condition.type === "Ready" && condition.status === "True",
        ),
    );
    return pod === undefined ? undefined : { namespace, pod: pod.metadata.name, port: config.control };
  }

  /** Whoever ends an intercept from elsewhere removes its lease, which is noticed here at the next renewal only. */
  async #isOurs(): Promise<boolean> {
    const { name, namespace } = this.#names;
    const lease = await this.#options.cluster.client.find(leases, name, namespace);
    return lease?.["spec"]?.holderIdentity === identityOf(this.#options.holder);
  }

  async #take(): Promise<void> {
    const { cluster, service, object, holder } = this.#options;
    if (!(await this.#isOurs())) return;
    const by = `${holder.user}@${holder.host}`;
    await takeService(cluster.client, object, { service, by, since: this.#since });
  }

  /** Opens the tunnel again whenever it is lost. */
  async #keep(first: { closed: Promise<void> }): Promise<void> {
    const signal = AbortSignal.any([this.#over.signal, this.#lease.signal]);
    for (let tunnel = first; ;) {
      await tunnel.closed;
      if (signal.aborted) return;
      this.#connected = false;
      this.#options.onEvent({ kind: "lost", reason: "the connection to the cluster was lost" });
      try {
        tunnel = await this.#connect(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.onEvent({ kind: "problem", message: messageOf(error) });
      }
    }
  }

  /** Takes the Service again where an installation led it back. */
  #watch(): Promise<void> {
    const { cluster, namespace, object } = this.#options;
    let work = Promise.resolve();
    const look = (found: KubeObject) => {
      if (isTaken(found) || !this.#connected || this.#lease.signal.aborted) return;
      work = work.then(async () => {
        try {
          await sleep(firstPauseMs, this.#over.signal);
          if (this.#connected && !this.#lease.signal.aborted) await this.#take();
        } catch (error) {
          if (!this.#over.signal.aborted)
            this.#options.onEvent({ kind: "problem", message: messageOf(error) });
        }
      });
    };
    return listWatch(
      {
        client: cluster.client,
        resource: services,
        namespace,
        fieldSelector: `metadata.name=${object.metadata.name}`,
        logger: silent,
        signal: this.#over.signal,
      },
      {
        replace: (objects) => objects.forEach(look),
        apply: ({ type, object }) => {
          if (type === "MODIFIED") look(object);
        },
      },
    ).then(() => work);
  }

  #onConnection(taken: boolean): void {
    if (taken) this.#options.onEvent({ kind: "connection" });
    else if (this.#answered) this.#options.onEvent({ kind: "unanswered" });
    this.#answered = taken;
  }
}
