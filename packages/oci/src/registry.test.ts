/** A client against registries that lie, stall, break off and refuse: each test says how its own server behaves. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { CredentialSource } from "./credentials.ts";
import { mediaTypes, sha256 } from "./descriptor.ts";
import { connectionError } from "./failures.ts";
import { openRegistries } from "./registry.ts";
import type { Repository } from "./repository.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A server whose handler may be a promise; one that rejects breaks the connection. */
async function listen(handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    const handled = async () => handler(request, response);
    handled().catch(() => response.destroy());
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function open(handler: Handler, credentials?: CredentialSource): Promise<Repository> {
  const registries = openRegistries({ env: {}, retryDelayMs: 1, ...(credentials && { credentials }) });
  return registries.repository(`${await listen(handler)}/team/orders`);
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const json = (response: ServerResponse, status: number, value: unknown, headers = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));

const content = randomBytes(2 ** 20);
const blob = { mediaType: "application/octet-stream", digest: sha256(content), size: content.length };

async function read(repository: Repository, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.blob(blob, { signal })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe("a registry that refuses", () => {
  test.each([
    [
      401,
      "permission",
      "wants other credentials (401): not you",
      /docker login 127.*helm registry login 127/,
    ],
    [403, "permission", "forbids it (403): not you", /docker login/],
    [404, "not-found", "does not have it (404): not you", /push it first/],
    [429, "failed", "allows no more requests for now (429): not you", /Try again later/],
    [500, "failed", "failed (500): not you", /Try again later/],
    [418, "failed", "answered 418: not you", /OCI registry/],
  ])("with %i is told in words, with its own reason", async (status, code, message, fix) => {
    const errors = [{ code: "DENIED", message: "not\n\u001B[31m you" }];
    const repository = await open((_, response) => json(response, status, { errors }));
    await expect(repository.manifest("1")).rejects.toMatchObject({
      code,
      message: `${repository.name}:1: ${repository.remote?.host} ${message.replace("not you", "not [31m you")}`,
      fix: expect.stringMatching(fix),
      status,
    });
  });

  test("for a while is asked again, no sooner than it says", async () => {
    let asked = 0;
    const manifest = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] }),
    );
    const repository = await open((_, response) => {
      asked += 1;
      if (asked === 1) response.writeHead(429, { "retry-after": "0" }).end();
      else if (asked === 2) response.writeHead(503).end();
      else if (asked === 3) response.destroy();
      else response.end(manifest);
    });
    expect((await repository.manifest("1")).descriptor.digest).toBe(sha256(manifest));
    expect(asked).toBe(4);
  });

  test("for longer than anybody waits is told at once", async () => {
    let asked = 0;
    const repository = await open((_, response) => {
      asked += 1;
      response.writeHead(429, { "retry-after": "3600" }).end();
    });
    await expect(repository.manifest("1")).rejects.toMatchObject({ status: 429 });
    expect(asked).toBe(1);
  });

  test("an abort ends the wait, the request and the download", async () => {
    for (const answer of [
      (response: ServerResponse) => void response.writeHead(429, { "retry-after": "20" }).end(),
      () => {},
      (response: ServerResponse) => void response.writeHead(200).write(content.subarray(0, 1000)),
    ]) {
      const asked = Promise.withResolvers<void>();
      const repository = await open((_, response) => {
        answer(response);
        asked.resolve();
      });
      const abort = new AbortController();
      const reading = read(repository, abort.signal);
      await asked.promise;
      abort.abort(new Error("enough"));
      await expect(reading).rejects.toThrow("enough");
    }
  });
});

describe("a registry that lies", () => {
  test("a manifest or blob with other content than its digest says is refused", async () => {
    const repository = await open((_, response) => void response.end(`{"config":{}}`));
    await expect(repository.manifest(blob.digest)).rejects.toThrow(/should be sha256:.* and is sha256:/);
    await expect(read(repository)).rejects.toThrow(/ended after 13 of 1048576 bytes/);
    const changed = await open((_, response) => void response.end(Buffer.from(content).fill(0, 5, 6)));
    await expect(read(changed)).rejects.toThrow(/should be sha256:.* and is sha256:/);
  });

  test("a tag whose manifest is not what the answer's header says is refused", async () => {
    const repository = await open(
      (_, response) => void response.setHeader("docker-content-digest", blob.digest).end(`{"config":{}}`),
    );
    await expect(repository.manifest("1")).rejects.toThrow(/should be/);
  });

  test("a body without an end is cut off: a manifest at its limit, a blob at its size", async () => {
    const endless = await open((request, response) => {
      response.on("error", () => {});
      const pour = () => {
        while (!response.destroyed && response.write(content)) continue;
        response.once("drain", pour);
      };
      pour();
      request.resume();
    });
    await expect(endless.manifest("1")).rejects.toThrow(/answered with more than 4194304 bytes/);
    await expect(read(endless)).rejects.toThrow(/is longer than the 1048576 bytes it should have/);
    await expect(endless.tags()).rejects.toThrow(/answered with more than 4194304 bytes/);
  });

  test("redirects that go round are given up", async () => {
    let asked = 0;
    const repository = await open((request, response) => {
      asked += 1;
      response.writeHead(307, { location: request.url ?? "" }).end();
    });
    await expect(read(repository)).rejects.toThrow(/redirects without an end/);
    expect(asked).toBe(6);
  });

  test("pages of tags are all read, and those that go round are not read for ever", async () => {
    const repository = await open((request, response) => {
      const last = new URL(request.url ?? "", "http://x").searchParams.get("last");
      const next = `</v2/team/orders/tags/list?last=b>; rel="next"`;
      json(response, 200, { tags: last === null ? ["a", "b"] : ["c"] }, last === null ? { link: next } : {});
    });
    expect(await repository.tags()).toEqual(["a", "b", "c"]);
    let asked = 0;
    const round = await open((request, response) => {
      asked += 1;
      json(response, 200, { tags: [] }, { link: `<${request.url}>; rel="next"` });
    });
    expect(await round.tags()).toEqual([]);
    expect(asked).toBe(1000);
  });

  test.each([["<html>"], [`{"schemaVersion":1,"fsLayers":[]}`], ["[]"]])(
    "a manifest that is %s is refused",
    async (text) => {
      const repository = await open((_, response) => void response.end(text));
      await expect(repository.manifest("1")).rejects.toMatchObject({ code: "config" });
    },
  );
});

describe("a registry that sends its clients elsewhere", () => {
  const credentials: CredentialSource = async () => ({ username: "ann", password: "secret" });

  test("another host gets the request and no credentials, and the registry itself keeps getting them", async () => {
    const seen: (string | undefined)[] = [];
    const elsewhere = await listen((request, response) => {
      seen.push(request.headers.authorization);
      response.end(content);
    });
    const repository = await open((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      } else if (request.url?.startsWith("/here") === true) {
        response.writeHead(302, { location: `http://${elsewhere}/there` }).end();
      } else response.writeHead(307, { location: "/here" }).end();
    }, credentials);
    expect(await read(repository)).toEqual(content);
    expect(seen).toEqual([undefined]);
  });

  test("an upload to another host goes without credentials", async () => {
    const seen: (string | undefined)[] = [];
    const elsewhere = await listen(async (request, response) => {
      seen.push(request.headers.authorization);
      await bodyOf(request);
      response.writeHead(request.method === "PUT" ? 201 : 202, { location: "/upload" }).end();
    });
    const repository = await open((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      } else if (request.method === "HEAD") response.writeHead(404).end();
      else response.writeHead(202, { location: `http://${elsewhere}/upload` }).end();
    }, credentials);
    await push(repository);
    expect(seen).toEqual([undefined, undefined]);
  });

  test("to a token service gets a token there, once for several requests, and a new one when it has ended", async () => {
    const asked: string[] = [];
    let valid = "";
    const tokens = await listen((request, response) => {
      asked.push(`${request.headers.authorization} ${decodeURIComponent(request.url ?? "")}`);
      valid = `token-${asked.length}`;
      json(response, 200, { token: valid, expires_in: 300 });
    });
    const repository = await open((request, response) => {
      if (request.headers.authorization === `Bearer ${valid}`) response.end(content);
      else {
        const challenge = `Bearer realm="http://${tokens}/token",service="reg",scope="x"`;
        response.writeHead(401, { "www-authenticate": challenge }).end();
      }
    }, credentials);
    await read(repository);
    await read(repository);
    expect(asked).toEqual([
      "Basic YW5uOnNlY3JldA== /token?service=reg&scope=repository:team/orders:pull&account=ann",
    ]);
    valid = "ended";
    await read(repository);
    expect(asked).toHaveLength(2);
  });

  test("an identity token is exchanged for a token, in the body of a POST", async () => {
    const forms: string[] = [];
    const tokens = await listen(async (request, response) => {
      forms.push(`${request.method} ${request.url} ${(await bodyOf(request)).toString()}`);
      json(response, 200, { access_token: "t" });
    });
    const repository = await open(
      (request, response) => {
        if (request.headers.authorization === "Bearer t") response.end(content);
        else response.writeHead(401, { "www-authenticate": `Bearer realm="http://${tokens}/token"` }).end();
      },
      async () => ({ identityToken: "refresh" }),
    );
    await read(repository);
    expect(forms).toEqual([
      "POST /token grant_type=refresh_token&client_id=kws&refresh_token=refresh&scope=repository%3Ateam%2Forders%3Apull",
    ]);
  });

  test("credentials go to no token service without TLS, and their refusal is told without them", async () => {
    const repository = await open((_, response) => {
      const challenge = 'Bearer realm="ftp://registry.example.com/token"';
      response.writeHead(401, { "www-authenticate": challenge }).end();
    }, credentials);
    await expect(read(repository)).rejects.toThrow(/not an HTTPS address/);

    const tokens = await listen((_, response) => json(response, 401, { errors: [] }));
    const refused = await open((_, response) => {
      response.writeHead(401, { "www-authenticate": `Bearer realm="http://${tokens}/token"` }).end();
    }, credentials);
    await expect(read(refused)).rejects.toMatchObject({
      code: "permission",
      message: expect.not.stringContaining("secret"),
    });
  });
});

/** Pushes the blob in pieces, so that a server can break off between them. */
function push(repository: Repository): Promise<void> {
  return repository.pushBlob(blob, async function* () {
    for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
  });
}

describe("connections that break", () => {
  test("a download goes on where it was", async () => {
    const ranges: (string | undefined)[] = [];
    const repository = await open((request, response) => {
      ranges.push(request.headers.range);
      const from = Number(/\d+/.exec(request.headers.range ?? "")?.[0] ?? 0);
      const headers = {
        "content-length": content.length - from,
        "content-range": `bytes ${from}-${content.length - 1}/${content.length}`,
      };
      response.writeHead(from === 0 ? 200 : 206, headers);
      if (ranges.length < 3) {
        response.write(content.subarray(from, from + 300_000), () => response.destroy());
      } else response.end(content.subarray(from));
    });
    expect(await read(repository)).toEqual(content);
    expect(ranges[0]).toBeUndefined();
    expect(ranges).toHaveLength(3);
    expect(ranges[2]).toMatch(/^bytes=[1-9]\d*-$/);
  });

  test("a download from a registry without ranges begins again", async () => {
    let asked = 0;
    const repository = await open((_, response) => {
      asked += 1;
      response.writeHead(200, { "content-length": content.length });
      if (asked === 1) response.write(content.subarray(0, 300_000), () => response.destroy());
      else response.end(content);
    });
    expect(await read(repository)).toEqual(content);
    expect(asked).toBe(2);
  });

  test("a download that never comes to its end is given up", async () => {
    let asked = 0;
    const repository = await open((_, response) => {
      asked += 1;
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 300_000), () => response.destroy());
    });
    await expect(read(repository)).rejects.toThrow(/ended after \d+ of 1048576 bytes/);
    expect(asked).toBe(5);
  });

  /** An upload in memory that breaks off in the middle of the first PATCH. */
  function uploads({ remembers }: { remembers: boolean }) {
    let stored = Buffer.alloc(0);
    const requests: string[] = [];
    let broken = false;
    const handler = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const { method } = request;
      requests.push(`${method} ${request.headers["content-range"] ?? ""}`.trim());
      const location = { location: "/v2/team/orders/blobs/uploads/1?state=x" };
      if (method === "HEAD") response.writeHead(404).end();
      else if (method === "POST") {
        stored = Buffer.alloc(0);
        response.writeHead(202, location).end();
      } else if (method === "GET") {
        const range = `0-${stored.length - 1}`;
        response.writeHead(remembers ? 204 : 404, { ...location, range }).end();
      } else if (method === "PATCH") {
        for await (const chunk of request as AsyncIterable<Buffer>) {
          stored = Buffer.concat([stored, chunk]);
          if (!broken && stored.length > 200_000) {
            broken = true;
            request.destroy();
            return;
          }
        }
        response.writeHead(202, location).end();
      } else {
        const right = createHash("sha256").update(stored).digest("hex") === blob.digest.slice(7);
        response.writeHead(right && request.url?.includes("state=x&digest=") === true ? 201 : 400).end();
      }
    };
    return { requests, handler };
  }

  test("an upload goes on after what has arrived", async () => {
    const { requests, handler } = uploads({ remembers: true });
    await push(await open(handler));
    const last = requests.findLast((request) => request.startsWith("PATCH"));
    expect(last).toMatch(/^PATCH [2-9]\d{5}-1048575$/);
    expect(requests.filter((request) => request === "POST")).toHaveLength(1);
  });

  test("an upload that the registry has forgotten begins again", async () => {
    const { requests, handler } = uploads({ remembers: false });
    await push(await open(handler));
    expect(requests.filter((request) => request === "POST")).toHaveLength(2);
  });

  test("an upload whose last answer was lost is found to be there", async () => {
    let there = false;
    const repository = await open(async (request, response) => {
      await bodyOf(request);
      if (request.method === "HEAD") response.writeHead(there ? 200 : 404).end();
      else if (request.method === "PUT") {
        there = true;
        response.destroy();
      } else response.writeHead(202, { location: "/upload" }).end();
    });
    await push(repository);
    expect(there).toBe(true);
  });

  test("an upload that the registry refuses half-way is told with its reason", async () => {
    const repository = await open((request, response) => {
      if (request.method === "PATCH") json(response, 413, { errors: [{ message: "1 MB at most" }] });
      else if (request.method === "HEAD") response.writeHead(404).end();
      else response.writeHead(202, { location: "/upload" }).end();
    });
    await expect(push(repository)).rejects.toMatchObject({
      message: expect.stringContaining("takes nothing of this size (413): 1 MB at most"),
    });
  });

  test("content that is not what its descriptor says never becomes a blob", async () => {
    const puts: string[] = [];
    const repository = await open(async (request, response) => {
      if (request.method === "PUT") puts.push("PUT");
      request.on("error", () => {});
      await bodyOf(request).catch(() => {});
      if (request.method === "HEAD") response.writeHead(404).end();
      else response.writeHead(202, { location: "/upload" }).end();
    });
    const wrong = repository.pushBlob(blob, async function* () {
      yield Buffer.alloc(content.length);
    });
    await expect(wrong).rejects.toThrow(/should be/);
    expect(puts).toEqual([]);
  });
});

describe("the way to a registry", () => {
  const host = "registry.example.com";

  test("goes by the proxy that the environment names, and past those that it excepts", async () => {
    const seen: (string | undefined)[] = [];
    const proxy = await listen((request, response) => {
      seen.push(request.url);
      response.end(content);
    });
    const env = { http_proxy: `http://${proxy}`, KWS_INSECURE_REGISTRIES: `other.example.com, ${host}` };
    expect(await read(openRegistries({ env }).repository(`${host}/team/orders`))).toEqual(content);
    expect(seen).toEqual([`http://${host}/v2/team/orders/blobs/${blob.digest}`]);

    const here = await listen((_, response) => void response.end(content));
    expect(await read(openRegistries({ env }).repository(`${here}/team/orders`))).toEqual(content);
    expect(seen).toHaveLength(1);
  });

  test("is HTTPS unless it leads nowhere else, and says so to a registry that speaks HTTP", async () => {
    const plain = await listen((_, response) => void response.end(content));
    const strict = openRegistries({ env: {}, plainHttp: () => false, retryDelayMs: 1 });
    await expect(read(strict.repository(`${plain}/team/orders`))).rejects.toMatchObject({
      message: expect.stringContaining(`${plain} does not speak TLS there`),
      fix: expect.stringContaining("KWS_INSECURE_REGISTRIES"),
    });
  });

  test.each([
    ["DEPTH_ZERO_SELF_SIGNED_CERT", /signed by nobody that this machine trusts/, /NODE_EXTRA_CA_CERTS/],
    ["CERT_HAS_EXPIRED", /is not valid/, /renewed/],
    ["ENOTFOUND", /there is no host registry\.example\.com/, /network/],
    ["ECONNREFUSED", /nothing listens at registry\.example\.com/, /port/],
    ["ECONNRESET", /the connection to registry\.example\.com broke/, /try again/],
  ])("that fails with %s is told in words", (code, message, fix) => {
    const error = connectionError(host, "it", Object.assign(new Error("x"), { code }));
    expect(error).toMatchObject({ message: expect.stringMatching(message), fix: expect.stringMatching(fix) });
  });
});
