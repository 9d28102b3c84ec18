/**
 * The few functions of the Reflect metadata proposal that the certificate library's dependency injection looks for when it
 * is loaded. Nothing else here uses metadata, so the whole polyfill package would be loaded for four functions.
 */

type Metadata = Map<unknown, unknown>;

/** Adds the functions where no polyfill has been loaded before. */
export function provideReflection(): void {
  if ("getMetadata" in Reflect) return;
  const known = new WeakMap<object, Metadata>();
  const own = (key: unknown, target: object): unknown => known.get(target)?.get(key);
  const inherited = (key: unknown, target: object): unknown => {
    for (let at: object | null = target; at !== null; at = Reflect.getPrototypeOf(at)) {
      if (known.get(at)?.has(key) === true) return own(key, at);
    }
    return undefined;
  };
  const define = (key: unknown, value: unknown, target: object): void => {
    const values: Metadata = known.get(target) ?? new Map();
    known.set(target, values.set(key, value));
  };
  Object.assign(Reflect, {
    getMetadata: inherited,
    getOwnMetadata: own,
    hasOwnMetadata: (key: unknown, target: object) => known.get(target)?.has(key) === true,
    defineMetadata: define,
    metadata: (key: unknown, value: unknown) => (target: object) => define(key, value, target),
  });
}
