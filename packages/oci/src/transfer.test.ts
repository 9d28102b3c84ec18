/** Blobs whose connections break, in both directions. */
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { blob, bodyOf, content, json, open, push, read } from "./testing/hostile-server.ts";

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
    await expect(read(repository)).rejects.toThrow(/the connection to 127\.0\.0\.1:\d+ broke/);
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

  test("a registry that has no place for it is asked once, and told as that", async () => {
    const posts: string[] = [];
    const repository = await open((request, response) => {
      if (request.method === "POST") posts.push("POST");
      if (request.method === "HEAD") response.writeHead(404).end();
      else json(response, 404, { errors: [{ code: "NAME_UNKNOWN", message: "no project shop" }] });
    });
    await expect(push(repository)).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("has no place for it (404): no project shop"),
      fix: expect.stringMatching(/address, path included.*make the project or repository/),
    });
    expect(posts).toEqual(["POST"]);
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
