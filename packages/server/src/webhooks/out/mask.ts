/** Takes secrets out of a message, in the forms in which they get into one. */

/** Shorter ones stand in ordinary words. */
const minLength = 4;

/** The text with every secret, also in base64, in a URL and in JSON, replaced by `***`. */
export function mask(text: string, secrets: readonly string[]): string {
  const forms = new Set(secrets.filter((secret) => secret.length >= minLength).flatMap(formsOf));
  // The longest first: one secret may hold another.
  return [...forms]
    .sort((a, b) => b.length - a.length)
    .reduce((masked, form) => masked.replaceAll(form, "***"), text);
}

function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const forms = [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    bytes.toString("hex"),
  ];
  // In longer base64 a secret begins at any of three places; the characters that it shares with its neighbours are left out.
  for (const [before, skip] of [
    [0, 0],
    [1, 2],
    [2, 3],
  ] as const) {
    const padded = Buffer.concat([Buffer.alloc(before), bytes]);
    const whole = padded.toString("base64").replaceAll("=", "");
    const shared = padded.length % 3 === 0 ? 0 : 1;
    const own = whole.slice(skip, whole.length - shared);
    forms.push(own, own.replaceAll("+", "-").replaceAll("/", "_"));
  }
  return forms.filter((form) => form.length >= minLength);
}
