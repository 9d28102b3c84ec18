/** Reads a tar archive, compressed or not, entry by entry from a stream; one entry at a time, without a temporary file. */
import { once } from "node:events";
import type { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { ReadEntry } from "tar";

/**
 * Calls back for each entry in order and waits for it; the callback may leave the entry's content unread. The archive's
 * faults (a wrong checksum, a truncated body) reject.
 */
export async function readTar(
  source: AsyncIterable<Uint8Array>,
  onEntry: (entry: ReadEntry) => Promise<void>,
): Promise<void> {
  const { Parser } = await import("tar");
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const ended = Promise.withResolvers<void>();
  let work = Promise.resolve();
  let broken = false;
  const fail = (error: unknown) => {
    broken = true;
    failed.reject(error);
  };
  const parser = new Parser({
    strict: true,
    gzip: false,
    brotli: false,
    maxDecompressionRatio: Number.POSITIVE_INFINITY,
    onReadEntry(entry) {
      entry.pause();
      work = work.then(async () => {
        if (broken) return;
        try {
          await onEntry(entry);
          entry.resume();
        } catch (error) {
          fail(error);
        }
      });
    },
  });
  parser.on("error", fail);
  parser.on("abort", fail);
  parser.on("end", () => ended.resolve());
  const copy = async () => {
    for await (const chunk of source) {
      if (!parser.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)) && !broken)
        await once(parser, "drain");
      if (broken) return;
    }
    parser.end();
    await ended.promise;
    await work;
  };
  await Promise.race([copy(), failed.promise]);
}

/** The whole content of an entry; a larger one than the limit rejects before it is read. */
export async function entryContent(entry: ReadEntry, limit: number): Promise<Buffer> {
  if (entry.size > limit) throw new RangeError(`is larger than ${limit} bytes`);
  const chunks: Buffer[] = [];
  for await (const chunk of entry) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The stream decompressed by what its first bytes say: gzip, zstd or nothing. */
export async function* decompressed(source: Readable): AsyncGenerator<Uint8Array> {
  const iterator = source.iterator({ destroyOnReturn: true });
  const first = await iterator.next();
  const head: Buffer = first.done === true ? Buffer.alloc(0) : Buffer.from(first.value);
  const rest = async function* () {
    yield head;
    yield* iterator;
  };
  const codec =
    head[0] === 0x1f && head[1] === 0x8b
      ? createGunzip()
      : head.subarray(0, 4).equals(Buffer.from([0x28, 0xb5, 0x2f, 0xfd]))
        ? createZstdDecompress()
        : undefined;
  if (codec === undefined) {
    yield* rest();
    return;
  }
  const { Readable: Stream } = await import("node:stream");
  const input = Stream.from(rest());
  input.on("error", (error) => codec.destroy(error));
  yield* input.pipe(codec);
}
