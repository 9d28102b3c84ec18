/**
 * Secrets kept out of logs: as they are, and as programs print them by accident: each line of several, in base64 wherever in the
 * encoded text they begin, URL-encoded, and escaped as in JSON. A value that comes in pieces is masked all the same; what may be
 * the beginning of one is held back until the next piece, and nothing else is.
 */

/** What stands in the place of a secret. */
export const mask = "***";

/** Shorter ones are in any text. */
export const shortestSecret = 3;
const shortestForm = 4;

export interface Masker {
  /** What of it and of earlier pieces can be shown. */
  write(chunk: Uint8Array): Buffer;
  /** The rest, after the last piece. */
  end(): Buffer;
}

export function masker(secrets: Iterable<string>): Masker {
  const forms = formsOf(secrets);
  const longest = Math.max(0, ...forms.map((form) => form.length));
  let held = "";
  /** How much of what is held stands behind a mask that was shown already. */
  let covered = 0;

  /** Shows all before `cut`, where whatever is not complete yet would begin. */
  const show = (text: string, cut: number): Buffer => {
    let shown = "";
    let at = 0;
    for (const { start, end } of spans(text, forms, covered)) {
      const goesOn = start === 0 && covered > 0;
      if (start >= cut && !goesOn) break;
      shown += text.slice(at, start);
      if (!goesOn) shown += mask;
      at = end;
    }
    shown += text.slice(at, Math.max(at, cut));
    held = text.slice(cut);
    covered = Math.max(0, at - cut);
    return Buffer.from(shown, "latin1");
  };
  return {
    write(chunk) {
      const text = held + Buffer.from(chunk).toString("latin1");
      return show(text, firstUnfinished(text, forms, longest));
    },
    end: () => show(held, held.length),
  };
}

/** A whole text. */
export function masked(secrets: Iterable<string>, text: string): string {
  const masks = masker(secrets);
  return Buffer.concat([masks.write(Buffer.from(text)), masks.end()]).toString();
}

/** The stretches to hide, those that overlap made one; `covered` is the length of one at the beginning. */
function spans(text: string, forms: string[], covered: number): { start: number; end: number }[] {
  const found = covered > 0 ? [{ start: 0, end: covered }] : [];
  for (const form of forms) {
    for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1)) {
      found.push({ start: at, end: at + form.length });
    }
  }
  const merged: { start: number; end: number }[] = [];
  for (const one of found.sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last !== undefined && one.start < last.end) last.end = Math.max(last.end, one.end);
    else merged.push({ ...one });
  }
  return merged;
}

/** Where the end of the text may be the beginning of a form; the text's length where it is not. */
function firstUnfinished(text: string, forms: string[], longest: number): number {
  for (let at = Math.max(0, text.length - longest + 1); at < text.length; at++) {
    const tail = text.slice(at);
    if (forms.some((form) => form.length > tail.length && form.startsWith(tail))) return at;
  }
  return text.length;
}

/** As bytes in latin1, like the text they are looked for in. */
function formsOf(secrets: Iterable<string>): string[] {
  const forms = new Set<string>();
  const add = (form: string) => forms.add(Buffer.from(form).toString("latin1"));
  for (const secret of secrets) {
    if (secret.length < shortestSecret) continue;
    const values = [secret, secret.trim(), ...secret.split(/\r?\n/).filter((line) => line.length >= 8)];
    for (const value of new Set(values)) {
      if (value.length < shortestSecret) continue;
      add(value);
      add(JSON.stringify(value).slice(1, -1));
      add(asciiJson(value));
      const url = encode(value);
      for (const form of [url, url.replaceAll("%20", "+")]) {
        add(form);
        add(form.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()));
      }
      for (const form of base64Forms(Buffer.from(value))) if (form.length >= shortestForm) add(form);
    }
  }
  return [...forms];
}

/** RFC 3986: also what `encodeURIComponent` leaves. */
function encode(value: string): string {
  const bytes = value.toWellFormed();
  return encodeURIComponent(bytes).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** With everything beyond ASCII as `\uXXXX`. */
function asciiJson(value: string): string {
  return JSON.stringify(value)
    .slice(1, -1)
    .replaceAll(/[\u0080-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** What of its base64 does not depend on the bytes around it, for each of the three places it may have in them (RFC 4648). */
function base64Forms(value: Buffer): string[] {
  return [0, 1, 2].flatMap((offset) => {
    const bytes = Buffer.concat([Buffer.alloc(offset), value]);
    const first = Math.ceil((8 * offset) / 6);
    const last = Math.floor((8 * bytes.length) / 6);
    return (["base64", "base64url"] as const).map((encoding) => bytes.toString(encoding).slice(first, last));
  });
}
