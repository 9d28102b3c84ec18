/** The wire form of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): writing and reading. */

export interface Message {
  id?: string;
  event?: string;
  data: string;
}

/** One message; a line of its data is a line of its own. */
export function encodeMessage({ id, event, data }: Message): string {
  const head = (id === undefined ? "" : `id: ${id}\n`) + (event === undefined ? "" : `event: ${event}\n`);
  const lines = data.split("\n").map((line) => `data: ${line}\n`);
  return `${head}${lines.join("")}\n`;
}

/** The messages of a body, as they come. Comments, which keep connections alive, are left out. */
export async function* readMessages(body: AsyncIterable<Uint8Array>): AsyncGenerator<Message> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    // A carriage return at the end may be half of a line's end.
    const text = rest + decoder.decode(chunk, { stream: true });
    const complete = text.endsWith("\r") ? text.slice(0, -1) : text;
    const blocks = complete.replaceAll(/\r\n?/g, "\n").split("\n\n");
    rest = (blocks.pop() ?? "") + text.slice(complete.length);
    for (const block of blocks) {
      const message = parseBlock(block);
      if (message !== undefined) yield message;
    }
  }
}

function parseBlock(block: string): Message | undefined {
  const fields: Record<string, string> = {};
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0) continue;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") data.push(value);
    else fields[name] = value;
  }
  if (data.length === 0) return undefined;
  return { id: fields["id"], event: fields["event"], data: data.join("\n") };
}
