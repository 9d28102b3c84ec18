/** ServiceAccount tokens bound to a pod, asked for through TokenRequest and kept until 80 % of their life is over. */
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { pathOf } from "@kws/kube/client";
import { serviceAccounts } from "@kws/kube/resources";
import type { Pod } from "./pod.ts";

interface Held {
  token: string;
  /** Milliseconds since the epoch. */
  renewAt: number;
}

export class PodTokens {
  readonly #client: KubeClient;
  readonly #now: () => number;
  readonly #held = new Map<string, Held>();

  constructor(client: KubeClient, now: () => number) {
    this.#client = client;
    this.#now = now;
  }

  async get(pod: Pod, audience: string | undefined, expirationSeconds: number): Promise<string> {
    const key = `${audience ?? ""}/${expirationSeconds}`;
    const held = this.#held.get(key);
    if (held !== undefined && held.renewAt > this.#now()) return held.token;
    const { name, namespace, uid } = pod.metadata;
    const account = pod.spec.serviceAccountName || "default";
    const answer: KubeObject = await this.#client.request({
      method: "POST",
      path: pathOf(serviceAccounts, namespace, account, "token"),
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: {
          ...(audience ? { audiences: [audience] } : {}),
          expirationSeconds,
          boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
        },
      }),
    });
    const token = String(answer.status?.token ?? "");
    const expires = Date.parse(String(answer.status?.expirationTimestamp ?? ""));
    const lifeMs = Number.isNaN(expires) ? expirationSeconds * 1000 : expires - this.#now();
    this.#held.set(key, { token, renewAt: this.#now() + lifeMs * 0.8 });
    return token;
  }

  /** When the first of the tokens has to be renewed, in milliseconds since the epoch. */
  get renewAt(): number {
    return Math.min(...[...this.#held.values()].map((held) => held.renewAt));
  }
}
