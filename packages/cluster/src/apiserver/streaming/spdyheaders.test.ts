import { expect, test } from "vitest";
import { HeaderCodec } from "./spdyheaders.ts";

test("a header block that is no compressed data is refused, and nothing else happens", async () => {
  const codec = new HeaderCodec();
  await expect(codec.decode(Buffer.from("this was never compressed"))).rejects.toThrow(/./);
  codec.close();
});

test("headers come back as they were sent", async () => {
  const [client, server] = [new HeaderCodec(), new HeaderCodec()];
  const headers = new Map([["streamtype", "data"]]);
  expect(await server.decode(Buffer.concat([await client.encode(headers)]))).toEqual(headers);
  client.close();
  server.close();
});
