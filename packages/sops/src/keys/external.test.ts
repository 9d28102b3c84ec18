import { existsSync } from "node:fs";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { identify } from "@kws/base/process";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openExternal } from "./external.ts";
import type { Key, KeyService } from "./key.ts";

const dataKey = Uint8Array.from({ length: 32 }, (_, index) => index * 3);
const call = {};
const key: Key = {
  type: "hc_vault",
  vault_address: "https://vault.example.com",
  engine_path: "transit",
  key_name: "kws",
};

let home: TempDir;

beforeEach(async () => {
  home = await tempDir("external-test");
});

afterEach(async () => {
  await home[Symbol.asyncDispose]();
});

/**
 * A service with a stand-in for the program: a gRPC server of Node's own HTTP/2, which runs `answer` on the bytes of a request
 * with a `reply(status, bytes, message)` of its own.
 */
async function serviceWith(answer: string, start = "listen()"): Promise<KeyService> {
  const program = `#!${process.execPath}
    const http2 = require("node:http2");
    const [command, ...args] = process.argv.slice(2);
    const socket = args[args.indexOf("--address") + 1];
    if (command !== "keyservice" || args[args.indexOf("--network") + 1] !== "unix") process.exit(9);
    const frame = (bytes) => { const head = Buffer.alloc(5); head.writeUInt32BE(bytes.length, 1); return Buffer.concat([head, bytes]); };
    const server = http2.createServer();
    server.on("stream", (stream, headers) => {
      const chunks = [];
      const reply = (status, bytes, message) => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status, "grpc-message": message ?? "" }));
        stream.end(bytes && frame(bytes));
      };
      stream.on("data", (chunk) => chunks.push(chunk)).on("end", () => {
        const body = Buffer.concat(chunks);
        const request = body.subarray(5);
        const path = headers[":path"];
        ${answer}
      });
    });
    const listen = () => server.listen(socket, () => console.error("Listening on unix://" + socket));
    ${start}`;
  await writeFile(join(home.path, "sops"), program);
  await chmod(join(home.path, "sops"), 0o755);
  return openExternal({ env: { PATH: home.path }, home: home.path, cwd: home.path, clock: () => 0 });
}

/** Wraps a data key as "wrapped:" and its base64, and answers other requests than the expected ones with an error. */
function storing(message: string): string {
  return `
    const key = Buffer.from(${JSON.stringify(Buffer.from(message, "latin1").toString("base64"))}, "base64");
    const value = request.subarray(key.length + 2);
    if (!request.subarray(0, key.length).equals(key) || request[key.length] !== 0x12) reply(3, null, "unexpected key");
    else if (path === "/KeyService/Encrypt") {
      const text = Buffer.from("wrapped:" + value.toString("base64"));
      reply(0, Buffer.concat([Buffer.from([0x0a, text.length]), text]));
    } else if (path === "/KeyService/Decrypt") {
      const bytes = Buffer.from(value.toString().replace("wrapped:", ""), "base64");
      reply(0, Buffer.concat([Buffer.from([0x0a, bytes.length]), bytes]));
    }`;
}

test.each<[Key, string]>([
  [{ type: "gcp_kms", resource_id: "r" }, "\x0a\x05\x1a\x03\x0a\x01r"],
  [
    { type: "azure_kv", vault_url: "u", name: "n", version: "v" },
    "\x0a\x0b\x22\x09\x0a\x01u\x12\x01n\x1a\x01v",
  ],
  [
    { type: "hc_vault", vault_address: "a", engine_path: "e", key_name: "k" },
    "\x0a\x0b\x2a\x09\x0a\x01a\x12\x01e\x1a\x01k",
  ],
  [{ type: "hckms", key_id: "i" }, "\x0a\x05\x3a\x03\x0a\x01i"],
])("the sops program wraps and unwraps for %o", async (key, message) => {
  const sops = await serviceWith(storing(message));
  const wrapped = await sops.wrap(key, dataKey, call);
  expect(wrapped).toEqual({
    key,
    enc: `wrapped:${Buffer.from(dataKey).toString("base64")}`,
    created_at: "1970-01-01T00:00:00Z",
  });
  expect(await sops.unwrap(wrapped, call)).toEqual(dataKey);
});

test("neither the program nor its socket's folder outlives the call", async () => {
  const sops = await serviceWith(`
    require("node:fs").writeFileSync("seen", JSON.stringify([socket, process.pid]));
    reply(0, Buffer.from([0x0a, 1, 65]));`);
  await sops.wrap(key, dataKey, call);
  const [socket, pid] = JSON.parse(await readFile(join(home.path, "seen"), "utf8")) as [string, number];
  expect(existsSync(dirname(socket))).toBe(false);
  expect(identify(pid)).toBeUndefined();
});

describe("an error names the key when", () => {
  const name = "Vault key https://vault.example.com/v1/transit/keys/kws";

  test("there is no sops program", async () => {
    const none = openExternal({ env: { PATH: home.path }, home: home.path, cwd: home.path, clock: () => 0 });
    await expect(none.wrap(key, dataKey, call)).rejects.toMatchObject({
      reason: "errorGeneric",
      code: "tool-missing",
    });
    await expect(none.unwrap({ key, enc: "x" }, call)).rejects.toMatchObject({
      exitCode: 128,
      message: `${name} needs the sops program, which is not on the PATH`,
    });
  });

  test.each([
    ["the service refuses", `reply(2, null, "permission%20denied%3A%20%E2%82%AC%")`, "permission denied: €%"],
    ["the connection breaks", "process.exit(1)", ""],
    ["the answer is empty", "reply(0, Buffer.alloc(0))", "the answer could not be read"],
    ["the answer is cut off", "reply(0, Buffer.from([0x0a, 200, 1, 5]))", "the answer is cut off"],
    ["there is no answer", "reply(0)", "the answer could not be read"],
  ])("%s", async (_, answer, message) => {
    const failed = (await serviceWith(answer)).unwrap({ key, enc: "x" }, call);
    await expect(failed).rejects.toThrow(`${name}: sops says: ${message}`);
  });

  test("the program ends at once", async () => {
    const failed = (await serviceWith("", `console.error("no such command"); process.exit(1)`)).wrap(
      key,
      dataKey,
      call,
    );
    await expect(failed).rejects.toThrow("it exited with 1: no such command");
  });
});

test("a call that is given up ends the program", async () => {
  const abort = new AbortController();
  const sops = await serviceWith(`require("node:fs").writeFileSync("asked", "")`);
  const failed = sops.wrap(key, dataKey, { signal: abort.signal });
  await expect.poll(async () => await readdir(home.path)).toContain("asked");
  abort.abort(new Error("given up"));
  await expect(failed).rejects.toThrow("given up");
});
