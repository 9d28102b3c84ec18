/**
 * Sends one blob to a registry (distribution-spec, "Pushing blobs"): taken from another repository there, or in one stream,
 * which goes on where a connection broke when the registry knows how far it came.
 */
import { UserError } from "@kws/base/errors";
import { verified } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { RegistryError, isTransient } from "./failures.ts";
import type { PushBlobOptions, Repository } from "./repository.ts";
import { attempts } from "./session.ts";
import type { CallAnswer, Session } from "./session.ts";

/** An upload in progress: where it goes on, and the bytes that have arrived. */
interface Upload {
  location: URL;
  offset: number;
}

export async function uploadBlob(
  session: Session,
  repository: Repository,
  descriptor: Descriptor,
  open: () => AsyncIterable<Uint8Array>,
  { mountFrom, signal }: PushBlobOptions,
): Promise<void> {
  const { remote, name } = repository;
  const { digest, size } = descriptor;
  if (await repository.hasBlob(digest, { signal })) return;
  const what = `${name}@${digest}`;
  const common = {
    what,
    signal,
    scopes: [
      `repository:${remote?.path}:pull,push`,
      ...(mountFrom === undefined ? [] : [`repository:${mountFrom}:pull`]),
    ],
  };

  /** Undefined where the registry has taken the blob from the other repository. */
  const begin = async (): Promise<Upload | undefined> => {
    const mount = new URLSearchParams({ mount: digest, from: mountFrom ?? "" }).toString();
    const answer = await session.call({
      ...common,
      method: "POST",
      url: `${remote?.path}/blobs/uploads/${mountFrom === undefined ? "" : `?${mount}`}`,
      headers: { "content-length": "0" },
      expected: mountFrom === undefined ? [202] : [201, 202],
    });
    answer.body.resume();
    return answer.status === 201 ? undefined : { location: locationOf(answer, what), offset: 0 };
  };

  /** Sends what is left; answers where the upload is to be ended. */
  const send = async ({ location, offset }: Upload): Promise<URL> => {
    if (offset === size) return location;
    const answer = await session.call({
      ...common,
      method: "PATCH",
      url: location,
      headers: {
        "content-type": "application/octet-stream",
        "content-length": String(size - offset),
        ...(offset === 0 ? {} : { "content-range": `${offset}-${size - 1}` }),
      },
      body: () => after(offset, verified(open(), descriptor, what)),
      expected: [202],
      once: true,
    });
    answer.body.resume();
    return locationOf(answer, what);
  };

  const end = async (location: URL): Promise<void> => {
    const url = new URL(location);
    url.searchParams.set("digest", digest);
    const answer = await session.call({
      ...common,
      method: "PUT",
      url,
      headers: { "content-length": "0" },
      expected: [201, 204],
      once: true,
    });
    answer.body.resume();
  };

  /** How far a broken upload came; undefined where it has to begin again. */
  const progress = async ({ location }: Upload): Promise<Upload | undefined> => {
    try {
      const answer = await session.call({ ...common, method: "GET", url: location, expected: [204] });
      answer.body.resume();
      const arrived = Number(/^(?:bytes=)?0-(\d+)$/.exec(String(answer.headers["range"]))?.[1]);
      // "0-0" is one byte to some registries and none to others.
      if (!(arrived > 0 && arrived < size)) return undefined;
      return { location: locationOf(answer, what), offset: arrived + 1 };
    } catch (error) {
      if (error instanceof RegistryError) return undefined;
      throw error;
    }
  };

  let upload: Upload | undefined;
  for (let attempt = 1; ; attempt++) {
    try {
      upload ??= await begin();
      if (upload === undefined) return;
      await end(await send(upload));
      return;
    } catch (error) {
      signal?.throwIfAborted();
      if (!mayPass(error, upload !== undefined) || attempt === attempts) throw error;
    }
    await session.pause(attempt, signal);
    // The answer may have been lost, and not the request.
    if (await repository.hasBlob(digest, { signal })) return;
    if (upload !== undefined) upload = await progress(upload);
  }
}

/** Broken connections, faults of the registry, and uploads that had begun and that it has forgotten. */
function mayPass(error: unknown, begun: boolean): boolean {
  if (!(error instanceof RegistryError)) return isTransient(error);
  const { status } = error;
  if (status === 404) return begun;
  return status !== undefined && (status >= 500 || [408, 416, 429].includes(status));
}

function locationOf({ headers, url }: CallAnswer, what: string): URL {
  const location = headers.location === undefined ? null : URL.parse(headers.location, url.href);
  if (location === null) {
    throw new UserError(`${what}: ${url.host} does not say where to send it`, {
      fix: `Check that ${url.host} is an OCI registry.`,
    });
  }
  return location;
}

async function* after(offset: number, content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let left = offset;
  for await (const chunk of content) {
    const part = chunk.subarray(Math.min(left, chunk.length));
    left -= chunk.length - part.length;
    if (part.length > 0) yield part;
  }
}
