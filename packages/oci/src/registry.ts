/** Repositories in registries, by the OCI distribution specification 1.1 (https://github.com/opencontainers/distribution-spec). */
import { messageOf, UserError } from "@kws/base/errors";
import { anonymous } from "./credentials.ts";
import type { CredentialSource } from "./credentials.ts";
import { damaged, digestPattern, mediaTypes, sha256, verified } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { connectionError, isTransient, RegistryError } from "./failures.ts";
import { createSend, isLoopback } from "./http.ts";
import { mediaTypeOf, parseDocument } from "./manifest.ts";
import { parseReference, repositoryAddress } from "./reference.ts";
import { manifestLimit, referenceIn, taken } from "./repository.ts";
import type { Repository } from "./repository.ts";
import { attempts, openSession } from "./session.ts";
import type { Session } from "./session.ts";
import { uploadBlob } from "./upload.ts";

export interface RegistryOptions {
  /** For proxies, and KWS_INSECURE_REGISTRIES: hosts, separated by commas, that serve plain HTTP. */
  env: NodeJS.ProcessEnv;
  /** Nobody's unless given. */
  credentials?: CredentialSource;
  /** Decides about plain HTTP instead: loopback addresses and the hosts named in `env`. */
  plainHttp?: (host: string) => boolean;
  /** The pause after a first failure; half a second unless given. */
  retryDelayMs?: number;
}

export interface Registries {
  /** `registry.example.com/team/orders`. */
  repository(name: string): Repository;
}

/** Opens no connection yet. */
export function openRegistries(options: RegistryOptions): Registries {
  const { env, credentials = anonymous, retryDelayMs = 500 } = options;
  const send = createSend(env);
  const insecure = new Set((env["KWS_INSECURE_REGISTRIES"] ?? "").split(",").map((host) => host.trim()));
  const plainHttp =
    options.plainHttp ?? ((host) => isLoopback(new URL(`http://${host}`).hostname) || insecure.has(host));
  return {
    repository(name) {
      if (parseReference(name).name !== name) {
        throw new UserError(`"${name}" is not a repository`, {
          code: "config",
          fix: "Leave tag and digest out.",
        });
      }
      const { host, path, address, credentials: account } = repositoryAddress(name);
      const session = openSession({
        host,
        address,
        plain: plainHttp(host),
        credentials: () => credentials(account, path),
        send,
        retryDelayMs,
      });
      return openRepository(name, { host, path }, session);
    },
  };
}

/** All that a client could run or store; a registry may refuse to serve what is not among them. */
const manifestTypes = [
  mediaTypes.manifest,
  mediaTypes.index,
  mediaTypes.dockerManifest,
  mediaTypes.dockerIndex,
].join(", ");
const tagsLimit = 4 * 2 ** 20;
const mostTagPages = 1000;
/** A download that got so far since it last broke has earned all its attempts again. */
const progressBytes = 2 ** 20;

function openRepository(name: string, remote: { host: string; path: string }, session: Session): Repository {
  const { host, path } = remote;
  const pull = { scopes: [`repository:${path}:pull`] };
  const push = { scopes: [`repository:${path}:pull,push`] };
  /** Runs it for a tag or digest, with connection failures in words. */
  const telling = async <T>(reference: string, work: (what: string) => Promise<T>): Promise<T> => {
    const what = referenceIn(name, reference);
    try {
      return await work(what);
    } catch (error) {
      throw connectionError(host, what, error);
    }
  };

  const repository: Repository = {
    name,
    remote,
    resolve: (reference, { signal } = {}) =>
      telling(reference, async (what) => {
        const { status, headers, body } = await session.call({
          ...pull,
          method: "HEAD",
          url: `${path}/manifests/${reference}`,
          what,
          headers: { accept: manifestTypes },
          expected: [200, 404],
          signal,
        });
        body.resume();
        if (status === 404) return undefined;
        const digest = digestPattern.test(reference) ? reference : headers["docker-content-digest"];
        const size = Number(headers["content-length"]);
        const mediaType = headers["content-type"]?.split(";")[0];
        if (typeof digest === "string" && digestPattern.test(digest) && size > 0 && mediaType !== undefined) {
          return { mediaType, digest, size };
        }
        return (await repository.manifest(reference, { signal })).descriptor;
      }),
    manifest: (reference, { signal } = {}) =>
      telling(reference, async (what) => {
        const { answer, bytes } = await session.document(
          {
            ...pull,
            method: "GET",
            url: `${path}/manifests/${reference}`,
            what,
            headers: { accept: manifestTypes },
            expected: [200],
            signal,
          },
          manifestLimit,
        );
        const digest = sha256(bytes);
        const said = String(answer.headers["docker-content-digest"]);
        const wanted = [reference, said].find((text) => digestPattern.test(text)) ?? digest;
        if (digest !== wanted) throw damaged(what, `should be ${wanted} and is ${digest}`);
        const mediaType = mediaTypeOf(bytes, what);
        return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
      }),
    async *blob(descriptor, { signal } = {}) {
      const what = referenceIn(name, descriptor.digest);
      try {
        yield* verified(download(descriptor, what, signal), descriptor, what);
      } catch (error) {
        throw connectionError(host, what, error);
      }
    },
    hasBlob: (digest, { signal } = {}) =>
      telling(digest, async (what) => {
        const { status, body } = await session.call({
          ...pull,
          method: "HEAD",
          url: `${path}/blobs/${digest}`,
          what,
          expected: [200, 404],
          signal,
        });
        body.resume();
        return status === 200;
      }),
    pushBlob: (descriptor, open, options = {}) =>
      telling(descriptor.digest, () => uploadBlob(session, repository, descriptor, open, options)),
    pushManifest: (bytes, mediaType, { tag, overwrite = true, signal } = {}) => {
      const digest = sha256(bytes);
      return telling(tag ?? digest, async (what) => {
        if (tag !== undefined && !overwrite) {
          const existing = await repository.resolve(tag, { signal });
          if (existing?.digest === digest) return existing;
          if (existing !== undefined) throw taken(what, existing.digest, digest);
        }
        const { body } = await session.call({
          ...push,
          method: "PUT",
          url: `${path}/manifests/${tag ?? digest}`,
          what,
          headers: { "content-type": mediaType, "content-length": String(bytes.length) },
          body: () => bytes,
          expected: [200, 201],
          signal,
        });
        body.resume();
        return { mediaType, digest, size: bytes.length };
      });
    },
    async tags({ signal } = {}) {
      try {
        return await listTags(signal);
      } catch (error) {
        throw connectionError(host, name, error);
      }
    },
  };

  /** Goes on where a connection broke, if the registry can; from the start otherwise. */
  async function* download(
    { digest, size }: Descriptor,
    what: string,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    let seen = 0;
    let failures = 0;
    for (;;) {
      const answer = await session.call({
        ...pull,
        method: "GET",
        url: `${path}/blobs/${digest}`,
        what,
        headers: seen === 0 ? {} : { range: `bytes=${seen}-` },
        expected: seen === 0 ? [200] : [200, 206],
        signal,
      });
      let skip = answer.status === 206 ? 0 : seen;
      if (answer.status === 206 && !answer.headers["content-range"]?.startsWith(`bytes ${seen}-`)) {
        answer.body.destroy();
        throw damaged(what, "comes from a place that was not asked for");
      }
      const began = seen;
      let broken: unknown;
      try {
        for await (const chunk of answer.body as AsyncIterable<Buffer>) {
          const part = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - part.length;
          seen += part.length;
          if (part.length > 0) yield part;
        }
        if (seen >= size) return;
      } catch (error) {
        signal?.throwIfAborted();
        if (!isTransient(error)) throw error;
        broken = error;
      }
      if (seen - began >= progressBytes) failures = 0;
      failures += 1;
      if (failures === attempts) {
        if (broken !== undefined) throw broken;
        return;
      }
      await session.pause(failures, signal);
    }
  }

  function readList(bytes: Uint8Array): { tags?: unknown } {
    try {
      return parseDocument(bytes, `${name}: the list of tags`) ?? {};
    } catch (error) {
      throw new RegistryError(messageOf(error), {
        code: "failed",
        fix: `Check that ${host} is an OCI registry, and that no page of a proxy or a login comes in its place.`,
        cause: error,
      });
    }
  }

  async function listTags(signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = [];
    let url: URL | string | undefined = `${path}/tags/list?n=1000`;
    for (let page = 0; url !== undefined && page < mostTagPages; page++) {
      const { answer, bytes } = await session.document(
        { ...pull, method: "GET", url, what: name, expected: [200, 404], signal },
        tagsLimit,
      );
      if (answer.status === 404) return tags;
      const document = readList(bytes);
      if (Array.isArray(document.tags)) tags.push(...document.tags.filter((tag) => typeof tag === "string"));
      const next = /<([^>]+)>\s*;[^,]*\brel="?next/.exec(String(answer.headers["link"] ?? ""))?.[1];
      url = next === undefined ? undefined : (URL.parse(next, answer.url.href) ?? undefined);
    }
    return tags;
  }

  return repository;
}
