/** Finds a container's image in the local store, and tells in upstream's words why it is not there. */
import { messageOf } from "@kws/base/errors";
import type { Image, ImageStore } from "../images/image.ts";
import { isImageReference } from "./create.ts";
import type { PodContainer } from "./pod.ts";
import type { ContainerRecord } from "./record.ts";

type Tell = (container: PodContainer, type: "Normal" | "Warning", reason: string, message: string) => void;

/** Looking into the local store costs little, and whoever has just built an image waits for it. */
const retryMs = 1000;

export class ImageLookup {
  readonly #images: ImageStore;
  readonly #tell: Tell;
  readonly #retryAfter: (milliseconds: number) => void;
  /** When an image was last found missing, by container. */
  readonly #missedAt = new Map<string, number>();

  constructor(images: ImageStore, tell: Tell, retryAfter: (milliseconds: number) => void) {
    this.#images = images;
    this.#tell = tell;
    this.#retryAfter = retryAfter;
  }

  /** Undefined with the reason noted in the record; looked for again every second. */
  async find(container: PodContainer, record: ContainerRecord): Promise<Image | undefined> {
    const { image: reference } = container;
    if (!isImageReference(reference)) {
      const why = "couldn't parse image name: invalid reference format";
      const message = `Failed to apply default image tag "${reference}": ${why}`;
      return this.#fail(container, record, "InvalidImageName", message, "InspectFailed");
    }
    const missed = this.#missedAt.get(container.name);
    const wait = missed === undefined ? 0 : missed + retryMs - performance.now();
    if (wait > 0) {
      this.#retryAfter(wait);
      return undefined;
    }
    let image: Image | undefined;
    let damage: string | undefined;
    try {
      image = await this.#images.find(reference);
    } catch (error) {
      damage = `Failed to inspect image "${reference}": ${messageOf(error)}`;
    }
    if (image !== undefined) return image;
    this.#missedAt.set(container.name, performance.now());
    this.#retryAfter(retryMs);
    if (damage !== undefined)
      return this.#fail(container, record, "ImageInspectError", damage, "InspectFailed");
    if (container.imagePullPolicy === "Never") {
      const message = `Container image "${reference}" is not present with pull policy of Never`;
      return this.#fail(container, record, "ErrImageNeverPull", message, "ErrImageNeverPull");
    }
    const message =
      `Failed to pull image "${reference}": the image is not in the local store; ` +
      `build it or load it there under this name, and the pod starts by itself`;
    const reason = record.waiting?.reason;
    if (reason !== "ErrImagePull" && reason !== "ImagePullBackOff") {
      return this.#fail(container, record, "ErrImagePull", message, "Failed");
    }
    if (reason === "ErrImagePull") {
      const backOff = `Back-off pulling image "${reference}"`;
      record.waiting = { reason: "ImagePullBackOff", message: `${backOff}: ErrImagePull: ${message}` };
      this.#tell(container, "Normal", "BackOff", backOff);
    }
    return undefined;
  }

  #fail(
    container: PodContainer,
    record: ContainerRecord,
    reason: string,
    message: string,
    event: string,
  ): undefined {
    if (record.waiting?.reason === reason) return;
    record.waiting = { reason, message };
    this.#tell(container, "Warning", event, message);
    this.#tell(container, "Warning", "Failed", `Error: ${reason}`);
  }
}
