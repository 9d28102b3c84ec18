import { expect, test } from "vitest";
import { mask, masked as whole, masker } from "./masks.ts";

/** A generator with a seed, so that a failure can be repeated. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function masked(secrets: string[], chunks: Uint8Array[]): string {
  const one = masker(secrets);
  return Buffer.concat([...chunks.map((chunk) => one.write(chunk)), one.end()]).toString();
}

function split(bytes: Buffer, next: (below: number) => number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = 1 + next(12);
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

const secrets = ['pa"ss w0rd/ü+ß', "aaab", "aab-token-1234567890", "first line of it\nsecond line of it"];

test("a secret is masked in every form, wherever the text is cut", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const next = random(seed);
    const noise = () => Buffer.from(Array.from({ length: next(9) }, () => 0x61 + next(3)));
    const secret = secrets[next(secrets.length)] ?? "";
    const around = Buffer.concat([noise(), Buffer.from(secret), noise()]);
    const forms = [
      around,
      Buffer.from(around.toString("base64")),
      Buffer.from(around.toString("base64url")),
      Buffer.from(encodeURIComponent(around.toString())),
      Buffer.from(encodeURIComponent(around.toString()).toLowerCase()),
      Buffer.from(JSON.stringify(around.toString())),
    ];
    for (const form of forms) {
      const shown = masked(secrets, split(form, next));
      expect(shown, `seed ${seed}: ${form.toString()}`).toContain(mask);
      expect(shown).not.toContain(secret);
      expect(shown).toBe(masked(secrets, [form]));
    }
  }
});

test("base64 of a secret leaves no more than the characters that it shares with its neighbours", () => {
  const secret = "correct horse battery";
  for (const before of ["", "x", "xy"]) {
    const text = Buffer.from(`${before}${secret}tail`).toString("base64");
    const shown = masked([secret], [Buffer.from(text)]);
    const [head = "", tail = ""] = shown.split(mask);
    expect(text.startsWith(head) && text.endsWith(tail)).toBe(true);
    expect(head.length).toBeLessThanOrEqual(3);
    expect(Buffer.from(shown.replace(mask, ""), "base64").toString()).not.toContain("horse");
  }
});

test("secrets that overlap, or one that begins like another, leave nothing", () => {
  expect(masked(["abcX", "XYZ"], [Buffer.from("-abc"), Buffer.from("XY"), Buffer.from("Z-")])).toBe(
    `-${mask}-`,
  );
  expect(masked(["abcd", "abcdef"], [Buffer.from("abcd"), Buffer.from("ef")])).toBe(mask);
});

test("what cannot become a secret is shown at once, and other bytes stay as they are", () => {
  const one = masker(["secret"]);
  expect(one.write(Buffer.from("hello se")).toString()).toBe("hello ");
  expect(one.write(Buffer.from("at\n")).toString()).toBe("seat\n");
  const bytes = Buffer.from([0xff, 0x00, 0xc3, 0x28]);
  expect(Buffer.concat([one.write(bytes), one.end()])).toEqual(bytes);
});

test("what is too short to be told from other text is not masked", () => {
  expect(whole(["", "ab"], "abab")).toBe("abab");
});
