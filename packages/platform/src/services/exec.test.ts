import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { withoutExitNote } from "./exec.ts";

async function through(...chunks: string[]): Promise<string> {
  const filter = withoutExitNote();
  const result = text(filter);
  for (const chunk of chunks) filter.write(chunk);
  filter.end();
  return result;
}

const note = "command terminated with exit code 127\n";

test("what kubectl says of the exit code is left out, however it arrives", async () => {
  expect(await through(note)).toBe("");
  expect(await through(`sh: nope: not found\n${note}`)).toBe("sh: nope: not found\n");
  expect(await through("no line end", note)).toBe("no line end");
  expect(await through("sh: nö\n", ...note.split(""))).toBe("sh: nö\n");
});

test("the same words elsewhere are the program's own, and stay", async () => {
  expect(await through(`${note}and more\n`)).toBe(`${note}and more\n`);
  expect(await through("command terminated")).toBe("command terminated");
  expect(await through("command terminated with exit code x\n")).toBe(
    "command terminated with exit code x\n",
  );
  expect(await through(note, note)).toBe(note);
});

test("what cannot be kubectl's goes through at once", () => {
  const filter = withoutExitNote();
  filter.write("password: ");
  expect(String(filter.read())).toBe("password: ");
});
