/**
 * Tells the parts of a cluster that its containers stand still while a snapshot is taken: what is asked of a container meanwhile
 * says nothing of its health, and no volume may go.
 */
export class Standstill {
  #current: Promise<void> | undefined;
  #count = 0;

  /** How many have begun: an answer before and after which it differs was not a running container's. */
  get count(): number {
    return this.#count;
  }

  /** Resolves at once where there is none. */
  async ended(): Promise<void> {
    while (this.#current !== undefined) await this.#current;
  }

  /** One after another. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    await this.ended();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#current = promise;
    this.#count += 1;
    try {
      return await work();
    } finally {
      this.#current = undefined;
      resolve();
    }
  }
}
