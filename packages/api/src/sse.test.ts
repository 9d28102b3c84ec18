import { expect, test } from "vitest";
import { encodeMessage, type Message, readMessages } from "./sse.ts";

async function read(chunks: string[]): Promise<Message[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
      controller.close();
    },
  });
  return Array.fromAsync(readMessages(body));
}

test("what is written is what is read, lines of data included", async () => {
  const messages: Message[] = [
    { id: "1", event: "one", data: "a\nb" },
    { id: "2", event: undefined, data: "{}" },
  ];
  expect(await read([messages.map(encodeMessage).join("")])).toEqual(messages);
});

test("a message may be cut anywhere, and lines may end as they like", async () => {
  const text = ": kept alive\r\n\r\nid: 7\r\ndata: one\r\n\r\nid: 8\ndata:two\n\n";
  const expected = [
    { id: "7", event: undefined, data: "one" },
    { id: "8", event: undefined, data: "two" },
  ];
  for (let cut = 0; cut <= text.length; cut++)
    expect(await read([text.slice(0, cut), text.slice(cut)]), `cut at ${cut}`).toEqual(expected);
});

test("what is not complete is not told", async () => {
  expect(await read(["data: one\n\ndata: tw"])).toEqual([{ id: undefined, event: undefined, data: "one" }]);
});
