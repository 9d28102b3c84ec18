/**
 * A container's image: from the local store, or pulled from its registry as the container's pull policy says
 * (https://kubernetes.io/docs/concepts/containers/images/), and why there is none yet, in upstream's words. A pull goes on
 * by itself: the pod is asked to look again when it has ended.
 */
import { UserError, messageOf } from "@kws/base/errors";
import type { CredentialSource } from "@kws/oci/credentials";
import { isReference } from "@kws/oci/reference";
import type { Image, ImageStore, PullImage } from "../images/image.ts";
import { isFromRegistry } from "../images/pull.ts";
import { formatDuration } from "./backoff.ts";
import type { PodContainer } from "./pod.ts";
import type { ContainerRecord } from "./record.ts";

export interface ImageLookupOptions {
  images: ImageStore;
  pull: PullImage;
  /** The pod's own, from its pull secrets. */
  credentials: () => Promise<CredentialSource>;
  /** Writes an event. */
  tell: (container: PodContainer, type: "Normal" | "Warning", reason: string, message: string) => void;
  retryAfter: (milliseconds: number) => void;
  /** Aborted when the pod is to end. */
  signal: AbortSignal;
}

/** One container's pull: running, done, or failed and waiting. */
interface Pull {
  reference: string;
  image?: Image;
  failures: number;
  /** Why the last attempt failed; undefined while one runs. */
  failure?: string;
  /** When the next may be made, by `performance.now()`. */
  notBefore: number;
}

/** Looking into the local store costs little, and whoever has just built an image waits for it. */
const lookAgainMs = 1000;
/** As documented: 10 s, 20 s, 40 s, … up to 5 min. */
const backOffMs = 10_000;
const longestBackOffMs = 300_000;

export class ImageLookup {
  readonly #options: ImageLookupOptions;
  /** By container. */
  readonly #pulls = new Map<string, Pull>();
  /** When an image was last found missing, by container. */
  readonly #missedAt = new Map<string, number>();

  constructor(options: ImageLookupOptions) {
    this.#options = options;
  }

  /** Undefined, with the reason noted in the record, while there is none. */
  async find(container: PodContainer, record: ContainerRecord): Promise<Image | undefined> {
    const { image: reference, imagePullPolicy: policy } = container;
    if (!isReference(reference)) {
      const why = "couldn't parse image name: invalid reference format";
      const message = `Failed to apply default image tag "${reference}": ${why}`;
      return this.#fail(container, record, "InvalidImageName", message, "InspectFailed");
    }
    const pull = this.#pulls.get(container.name);
    if (pull?.reference === reference) {
      if (pull.image !== undefined) {
        this.#pulls.delete(container.name);
        return pull.image;
      }
      if (pull.failure === undefined) return undefined;
    }
    const missed = this.#missedAt.get(container.name);
    const wait = missed === undefined ? 0 : missed + lookAgainMs - performance.now();
    if (wait > 0) {
      this.#options.retryAfter(wait);
      return undefined;
    }
    // What was built or loaded here is nowhere newer, whatever its tag.
    if (policy !== "Always" || !isFromRegistry(reference)) {
      const { image, damage } = await this.#stored(reference);
      if (image !== undefined) {
        const message = `Container image "${reference}" already present on machine`;
        this.#options.tell(container, "Normal", "Pulled", message);
        this.#pulls.delete(container.name);
        return image;
      }
      this.#missedAt.set(container.name, performance.now());
      this.#options.retryAfter(lookAgainMs);
      if (damage !== undefined) {
        return this.#fail(container, record, "ImageInspectError", damage, "InspectFailed");
      }
      if (policy === "Never") {
        const message = `Container image "${reference}" is not present with pull policy of Never`;
        return this.#fail(container, record, "ErrImageNeverPull", message, "ErrImageNeverPull");
      }
    }
    this.#pull(container, record, pull?.reference === reference ? pull : undefined);
    return undefined;
  }

  async #stored(reference: string): Promise<{ image?: Image; damage?: string }> {
    try {
      return { image: await this.#options.images.find(reference) };
    } catch (error) {
      return { damage: `Failed to inspect image "${reference}": ${messageOf(error)}` };
    }
  }

  #pull(container: PodContainer, record: ContainerRecord, last: Pull | undefined): void {
    const { tell, retryAfter } = this.#options;
    const { image: reference } = container;
    const wait = (last?.notBefore ?? 0) - performance.now();
    if (wait > 0) {
      retryAfter(wait);
      if (record.waiting?.reason !== "ErrImagePull") return;
      const backOff = `Back-off pulling image "${reference}"`;
      record.waiting = {
        reason: "ImagePullBackOff",
        message: `${backOff}: ErrImagePull: ${last?.failure ?? ""}`,
      };
      tell(container, "Normal", "BackOff", backOff);
      tell(container, "Warning", "Failed", "Error: ImagePullBackOff");
      return;
    }
    const pull: Pull = { reference, failures: last?.failures ?? 0, notBefore: 0 };
    this.#pulls.set(container.name, pull);
    tell(container, "Normal", "Pulling", `Pulling image "${reference}"`);
    void this.#run(container, record, pull);
  }

  /** Ends with the image or the failure in `pull`, and asks for another look. */
  async #run(container: PodContainer, record: ContainerRecord, pull: Pull): Promise<void> {
    const { pull: pullImage, credentials, tell, retryAfter, signal } = this.#options;
    const { reference } = pull;
    const began = performance.now();
    try {
      pull.image = await pullImage(reference, { credentials: await credentials(), signal });
      const took = formatDuration(performance.now() - began);
      const message = `Successfully pulled image "${reference}" in ${took}. Image size: ${pull.image.size} bytes.`;
      tell(container, "Normal", "Pulled", message);
    } catch (error) {
      if (signal.aborted) return;
      const fix = error instanceof UserError && error.fix !== undefined ? `. ${error.fix}` : "";
      pull.failure = `Failed to pull image "${reference}": ${messageOf(error)}${fix}`;
      pull.failures += 1;
      const delay = Math.min(backOffMs * 2 ** (pull.failures - 1), longestBackOffMs);
      pull.notBefore = performance.now() + delay;
      this.#fail(container, record, "ErrImagePull", pull.failure, "Failed");
      // So that the failure is seen before the backing off.
      this.#missedAt.set(container.name, performance.now());
    }
    retryAfter(0);
  }

  #fail(
    container: PodContainer,
    record: ContainerRecord,
    reason: string,
    message: string,
    event: string,
  ): undefined {
    const { tell } = this.#options;
    if (record.waiting?.reason === reason) return;
    record.waiting = { reason, message };
    tell(container, "Warning", event, message);
    tell(container, "Warning", "Failed", `Error: ${reason}`);
  }
}
