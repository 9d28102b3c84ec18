/** Where kws keeps things on this machine (https://specifications.freedesktop.org/basedir-spec/latest/). */
import { isAbsolute, join } from "node:path";

export interface Locations {
  /** Clusters, images and packages. */
  data: string;
  /** What can be made again: tools, clones, records of builds. */
  cache: string;
  /** The user's own settings. */
  config: string;
}

/** `KWS_HOME` holds all three when it is set; relative XDG paths are ignored, as the specification asks. */
export function locations(env: NodeJS.ProcessEnv, home: string): Locations {
  const own = env["KWS_HOME"];
  if (own !== undefined && isAbsolute(own)) {
    return { data: join(own, "data"), cache: join(own, "cache"), config: join(own, "config") };
  }
  const base = (name: string, fallback: string) => {
    const value = env[name];
    return join(value !== undefined && isAbsolute(value) ? value : join(home, fallback), "kws");
  };
  return {
    data: base("XDG_DATA_HOME", ".local/share"),
    cache: base("XDG_CACHE_HOME", ".cache"),
    config: base("XDG_CONFIG_HOME", ".config"),
  };
}
