/** A client against registries that refuse and lie. */
import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { mediaTypes, sha256 } from "./descriptor.ts";
import { blob, content, json, open, read } from "./testing/hostile-server.ts";

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

  test("to list tags, with a page for people, is no registry", async () => {
    const repository = await open((_, response) => response.end("<html>Log in</html>"));
    await expect(repository.tags()).rejects.toMatchObject({
      code: "failed",
      message: expect.stringContaining("the list of tags"),
      fix: expect.stringContaining("is an OCI registry"),
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

test("what is neither a tag nor a digest becomes no part of an address", async () => {
  let asked = 0;
  const repository = await open(() => (asked += 1));
  for (const reference of ["", "../../other/manifests/1", "a b", "sha512:00", "1?x=y"]) {
    await expect(repository.resolve(reference)).rejects.toThrow("is neither a tag nor a sha256 digest");
    await expect(repository.manifest(reference)).rejects.toThrow("is neither a tag nor a sha256 digest");
    await expect(repository.hasBlob(reference)).rejects.toThrow("is neither a tag nor a sha256 digest");
  }
  expect(asked).toBe(0);
});
