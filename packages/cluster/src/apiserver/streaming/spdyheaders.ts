/** Header blocks of SPDY/3: names and values with lengths, compressed by one zlib stream per direction. */
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from "node:zlib";

/** Section 2.6.10.1 of the SPDY/3 draft: words with their lengths in front, then text without. */
const words =
  "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow " +
  "authorization cache-control connection content-base content-encoding content-language content-length content-location " +
  "content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match " +
  "if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range " +
  "referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get " +
  "status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin";
const text =
  "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative " +
  "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal " +
  "Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, " +
  "Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml," +
  "text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

export const dictionary: Buffer = Buffer.concat([
  ...words.split(" ").flatMap((word) => withLength(word.replace("_", " "))),
  Buffer.from(text),
]);

/** More than any client sends; what inflates to more is an attack. */
const blockLimit = 64 * 1024;

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function withLength(value: string): Buffer[] {
  const bytes = Buffer.from(value);
  return [uint32(bytes.length), bytes];
}

/** Both directions of one connection. Calls have to follow each other: the compression has a memory. */
export class HeaderCodec {
  readonly #inflate: Inflate = createInflate({ dictionary });
  readonly #deflate: Deflate = createDeflate({ dictionary });

  async decode(block: Uint8Array): Promise<Map<string, string>> {
    const bytes = await pass(this.#inflate, block);
    if (bytes.length > blockLimit) throw new Error("header block is too large");
    const headers = new Map<string, string>();
    let at = 4;
    const next = (): string => {
      const length = bytes.readUInt32BE(at);
      const value = bytes.toString("utf8", at + 4, at + 4 + length);
      at += 4 + length;
      return value;
    };
    for (let count = bytes.readUInt32BE(0); count > 0; count--) headers.set(next().toLowerCase(), next());
    return headers;
  }

  encode(headers: Map<string, string>): Promise<Buffer> {
    const pairs = [...headers].flat().flatMap(withLength);
    return pass(this.#deflate, Buffer.concat([uint32(headers.size), ...pairs]));
  }

  close(): void {
    this.#inflate.close();
    this.#deflate.close();
  }
}

function pass(stream: Inflate | Deflate, bytes: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(error);
    stream.once("error", fail);
    stream.write(bytes);
    stream.flush(constants.Z_SYNC_FLUSH, () => {
      stream.off("error", fail);
      const chunks: Buffer[] = [];
      for (let chunk: Buffer | null; (chunk = stream.read() as Buffer | null) !== null;) chunks.push(chunk);
      resolve(Buffer.concat(chunks));
    });
  });
}
