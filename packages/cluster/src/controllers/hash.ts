/** Short stable hashes of templates, in the alphabet that Kubernetes uses for generated names. */

/** No vowels and no digits that look like them, so that no word appears (k8s.io/apimachinery util/rand). */
const alphabet = "bcdfghjklmnpqrstvwxz2456789";

/** The same for equal JSON whatever the order of keys; 32-bit FNV-1a, at most ten characters. */
export function hashOf(value: unknown, collisionCount?: number): string {
  let hash = 0x811c9dc5;
  const text = stableJson(value) + (collisionCount === undefined ? "" : `#${collisionCount}`);
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return safeEncode(String(hash >>> 0));
}

export function safeEncode(text: string): string {
  return [...Buffer.from(text)].map((byte) => alphabet[byte % alphabet.length]).join("");
}

export function stableJson(value: unknown): string {
  return JSON.stringify(value, (_key, field: unknown) => {
    if (typeof field !== "object" || field === null || Array.isArray(field)) return field;
    const entries = Object.entries(field).sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(entries);
  });
}
