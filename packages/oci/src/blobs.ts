/** Content by digest, in the `blobs/sha256` folder of an OCI image layout; a file there is complete and verified. */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { UserError, isErrno } from "@kws/base/errors";
import { digestPattern, hexOf, sha256 } from "./descriptor.ts";

export interface Blobs {
  path(digest: string): string;
  has(digest: string): Promise<boolean>;
  /** A path in the store's file system for a file that is not yet whole. */
  temporary(): Promise<string>;
  /** Moves a finished temporary file to its place. The caller has computed the digest from the bytes it wrote. */
  adopt(temporary: string, digest: string): Promise<void>;
  put(content: string | Uint8Array): Promise<{ digest: string; size: number }>;
  /** Stores a stream and verifies the digest where one is expected. */
  putStream(content: AsyncIterable<Uint8Array>, expected?: string): Promise<{ digest: string; size: number }>;
  /** The bytes of a document, verified again, since it decides what is run. */
  read(digest: string): Promise<Buffer>;
  /** A document of JSON; see `read`. */
  json(digest: string): Promise<unknown>;
}

export function openBlobs(dir: string): Blobs {
  const path = (digest: string) => {
    if (!digestPattern.test(digest)) {
      throw new UserError(`"${digest}" is not a sha256 digest`, { code: "config" });
    }
    return join(dir, "blobs", "sha256", hexOf(digest));
  };
  const temporary = async () => {
    const folder = join(dir, "ingest");
    await mkdir(folder, { recursive: true });
    return join(folder, randomUUID());
  };
  const blobs: Blobs = {
    path,
    temporary,
    async has(digest) {
      try {
        return (await stat(path(digest))).isFile();
      } catch (error) {
        if (isErrno(error, "ENOENT")) return false;
        throw error;
      }
    },
    async adopt(from, digest) {
      const to = path(digest);
      await mkdir(join(dir, "blobs", "sha256"), { recursive: true });
      await rename(from, to);
    },
    async put(content) {
      const digest = sha256(content);
      const size = Buffer.byteLength(content);
      if (await blobs.has(digest)) return { digest, size };
      return blobs.putStream(once(Buffer.from(content)), digest);
    },
    async putStream(content, expected) {
      const from = await temporary();
      try {
        const hash = createHash("sha256");
        let size = 0;
        const file = await open(from, "wx", 0o644);
        try {
          for await (const chunk of content) {
            hash.update(chunk);
            size += chunk.length;
            for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
          }
        } finally {
          await file.close();
        }
        const digest = `sha256:${hash.digest("hex")}`;
        if (expected !== undefined && expected !== digest) {
          throw new UserError(`content that should be ${expected} is ${digest}`, {
            code: "config",
            fix: "fetch or export the image again; it was damaged or changed on its way",
          });
        }
        await blobs.adopt(from, digest);
        return { digest, size };
      } finally {
        await rm(from, { force: true });
      }
    },
    async read(digest) {
      const bytes = await readFile(path(digest));
      if (sha256(bytes) !== digest) {
        throw new UserError(`${path(digest)} is damaged: its content is not what its name says`, {
          fix: "Remove the file, and build, load or pull the image again.",
        });
      }
      return bytes;
    },
    async json(digest) {
      return JSON.parse((await blobs.read(digest)).toString("utf8"));
    },
  };
  return blobs;
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}
