/**
 * Charts that are named by their address, whoever made them: in a registry (`oci://host/path/name`), or in a classic Helm
 * repository (`https://host/path/name`, with an index.yaml beside it: https://helm.sh/docs/topics/chart_repository/).
 */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import type { Credentials } from "@kws/oci/credentials";
import { sha256 } from "@kws/oci/descriptor";
import { createSend } from "@kws/oci/http";
import type { Waiting } from "@kws/oci/repository";
import { openSession, type Session } from "@kws/oci/session";
import { parse } from "yaml";
import { isMapping } from "../charts/layers.ts";
import { readYamlFile } from "../project/yaml-file.ts";
import { limits } from "./archive.ts";
import { type FoundPackage, openChart } from "./fetch.ts";
import { userRegistries } from "./publish.ts";
import { highestIn, parseRange } from "./range.ts";
import { fetchArchive } from "./store.ts";
import { isVersion, tagOf } from "./version.ts";

export interface ForeignChart {
  /** That it is for; it becomes the release's name. */
  service: string;
  /** `oci://…`, `https://…` or `http://…`. */
  address: string;
  /** Or a range; the newest release unless given. */
  version: string | undefined;
}

/** Throws `not-found` where there is no such chart or no fitting version. */
export type FetchForeign = (chart: ForeignChart, options?: Waiting) => Promise<FoundPackage>;

/** Large repositories have indexes of tens of megabytes. */
const indexLimit = 64 * 2 ** 20;

/** With the user's logins. An index is read once for all charts of its repository. */
export function foreignCharts(env: NodeJS.ProcessEnv): FetchForeign {
  const registries = userRegistries(env);
  const repositories = new Map<string, ClassicRepository>();
  return async ({ service, address, version = "*" }, options = {}) => {
    const slash = address.lastIndexOf("/");
    const [place, chart] = [address.slice(0, slash), address.slice(slash + 1)];
    const choose = (versions: string[]): string => {
      const [highest] = highestIn(versions, parseRange(version));
      if (highest !== undefined) return highest;
      throw new UserError(`${address} has no version ${version}`, {
        code: "not-found",
        fix: "Correct the version, or the chart's address.",
      });
    };
    const found = (chosen: string, archive: { digest: string; bytes: Uint8Array }) =>
      asPackage({ service, chart, version: chosen, where: `${service} ${chosen}` }, archive);
    if (place.startsWith("oci://")) {
      const repository = registries.repository(address.slice("oci://".length));
      const chosen = isVersion(version)
        ? version
        : choose((await repository.tags(options)).map((tag) => tag.replace("_", "+")));
      return found(chosen, await fetchArchive(repository, tagOf(chosen), options));
    }
    const repository = repositories.get(place) ?? classicRepository(place, env);
    repositories.set(place, repository);
    const entries = await repository.versions(chart, options);
    const chosen = choose(entries.map((entry) => entry.version));
    const entry = entries.find((one) => one.version === chosen);
    return found(chosen, await repository.fetch(entry, `${chart} ${chosen}`, options));
  };
}

async function asPackage(
  place: { service: string; chart: string; version: string; where: string },
  { digest, bytes }: { digest: string; bytes: Uint8Array },
): Promise<FoundPackage> {
  const { files } = await openChart(bytes, place);
  const { service, chart, version } = place;
  return { service, chart, version, digest, images: [], dependsOn: [], created: "", archive: bytes, files };
}

/** One version of a chart in an index. */
interface IndexEntry {
  version: string;
  /** The first place that it can be had from; may be relative to the repository. */
  url: string;
  /** SHA-256 of the archive in hexadecimal digits, where the index says it. */
  digest: string | undefined;
}

interface ClassicRepository {
  versions(chart: string, options: Waiting): Promise<IndexEntry[]>;
  fetch(
    entry: IndexEntry | undefined,
    what: string,
    options: Waiting,
  ): Promise<{ digest: string; bytes: Uint8Array }>;
}

function classicRepository(address: string, env: NodeJS.ProcessEnv): ClassicRepository {
  const base = new URL(`${address}/`);
  const session: Session = openSession({
    host: base.host,
    address: base.host,
    plain: base.protocol === "http:",
    credentials: () => repositoryLogin(address, env),
    send: createSend(env),
    retryDelayMs: 500,
  });
  const get = async (url: URL, what: string, limit: number, signal: AbortSignal | undefined) => {
    const call = { method: "GET" as const, url, what, scopes: [], expected: [200] };
    return (await session.document({ ...call, ...(signal && { signal }) }, limit)).bytes;
  };
  let reading: Promise<Record<string, unknown>> | undefined;
  return {
    async versions(chart, { signal }) {
      reading ??= get(new URL("index.yaml", base), `${address}/index.yaml`, indexLimit, signal).then(
        (bytes) => entriesIn(bytes, address),
      );
      const listed = (await reading)[chart];
      if (!Array.isArray(listed)) {
        throw new UserError(`${address} has no chart "${chart}"`, {
          code: "not-found",
          fix: "Correct the chart's address.",
        });
      }
      return listed.flatMap(readEntry);
    },
    async fetch(entry, what, { signal }) {
      if (entry === undefined) throw new Error("an entry is of its index");
      const bytes = await get(new URL(entry.url, base), what, limits.total, signal);
      const digest = sha256(bytes);
      if (entry.digest === undefined || digest === `sha256:${entry.digest}`) return { digest, bytes };
      throw new UserError(`${what} is damaged: it should be sha256:${entry.digest} and is ${digest}`, {
        fix: `Tell those who run ${address}: its index and its archives do not belong together.`,
      });
    },
  };
}

function entriesIn(bytes: Uint8Array, address: string): Record<string, unknown> {
  let index: unknown;
  try {
    index = parse(Buffer.from(bytes).toString(), { maxAliasCount: 0 });
  } catch (error) {
    throw notAnIndex(address, error);
  }
  const entries = isMapping(index) ? index["entries"] : undefined;
  if (isMapping(entries)) return entries;
  throw notAnIndex(address);
}

function notAnIndex(address: string, cause?: unknown): UserError {
  return new UserError(`${address}/index.yaml is not the index of a Helm repository`, {
    code: "config",
    fix: "Correct the address; a chart in a registry is written as oci://host/path/name.",
    cause,
  });
}

function readEntry(entry: unknown): IndexEntry[] {
  if (!isMapping(entry)) return [];
  const { version, urls, digest } = entry;
  const [url] = Array.isArray(urls) ? (urls as unknown[]) : [];
  if (typeof version !== "string" || typeof url !== "string") return [];
  return [{ version, url, digest: typeof digest === "string" ? digest : undefined }];
}

/** What `helm repo add --username` has left in the home of the user whose environment it is. */
async function repositoryLogin(address: string, env: NodeJS.ProcessEnv): Promise<Credentials | undefined> {
  const home = env["XDG_CONFIG_HOME"] ?? join(env["HOME"] ?? "", ".config");
  const file =
    env["HELM_REPOSITORY_CONFIG"] ?? join(env["HELM_CONFIG_HOME"] ?? join(home, "helm"), "repositories.yaml");
  try {
    const { value } = await readYamlFile(file);
    const known = isMapping(value) && Array.isArray(value["repositories"]) ? value["repositories"] : [];
    const own = known
      .filter(isMapping)
      .find(({ url }) => typeof url === "string" && url.replace(/\/+$/, "") === address);
    const { username, password } = own ?? {};
    if (typeof username !== "string" || typeof password !== "string" || username === "") return undefined;
    return { username, password };
  } catch (error) {
    if (error instanceof UserError && error.code === "not-found") return undefined;
    throw error;
  }
}
