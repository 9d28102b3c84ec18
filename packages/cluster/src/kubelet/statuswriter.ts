/** Writes a pod's status when it has changed: at most one write under way, and one more for all that changed meanwhile. */
import { messageOf } from "@kws/base/errors";
import { pods } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import type { KubeletContext } from "./context.ts";
import type { Pod, PodStatus } from "./pod.ts";

export class StatusWriter {
  readonly #context: KubeletContext;
  readonly #pod: () => Pod;
  readonly #compute: () => PodStatus;
  #written = "";
  #last: PodStatus | undefined;
  #wanted = false;
  #writing: Promise<void> | undefined;

  constructor(context: KubeletContext, pod: () => Pod, compute: () => PodStatus) {
    this.#context = context;
    this.#pod = pod;
    this.#compute = compute;
  }

  /** What was written last. */
  get last(): PodStatus | undefined {
    return this.#last;
  }

  /** Writes soon, together with everything else that changes in this turn of the event loop. */
  publish(): void {
    this.#wanted = true;
    this.#writing ??= new Promise<void>((resolve) => {
      setImmediate(() => {
        void this.#drain().finally(() => {
          this.#writing = undefined;
          resolve();
        });
      });
    });
  }

  /** Resolves when what is known now has been written. */
  async flush(): Promise<void> {
    this.publish();
    while (this.#writing !== undefined) await this.#writing;
  }

  async #drain(): Promise<void> {
    while (this.#wanted) {
      this.#wanted = false;
      const { name, namespace, uid } = this.#pod().metadata;
      const status = this.#compute();
      const text = JSON.stringify(status);
      if (text === this.#written) continue;
      // A merge patch takes away only what it names.
      const removed = Object.keys(this.#pod().status ?? {}).filter(
        (key) => (key === "reason" || key === "message") && !(key in status),
      );
      const patch = {
        metadata: { uid },
        status: { ...Object.fromEntries(removed.map((key) => [key, null])), ...status },
      };
      try {
        await this.#context.client.patch(pods, name, namespace, "merge", patch, { subresource: "status" });
        this.#written = text;
        this.#last = status;
      } catch (error) {
        if (isApiError(error, "NotFound", "Conflict")) return;
        this.#context.logger.warn("pod status not written", { pod: name, error: messageOf(error) });
        setTimeout(() => this.publish(), 1000).unref();
        return;
      }
    }
  }
}
