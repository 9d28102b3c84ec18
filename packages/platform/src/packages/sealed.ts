/** What is still encrypted must not get into a cluster: where it could come from, and what is refused. */
import { UserError } from "@kws/base/errors";
import { isArchive } from "../charts/chart.ts";
import type { Values } from "../charts/layers.ts";
import type { ArchiveFiles } from "./archive.ts";
import { keyPath } from "../project/key-path.ts";

/** What every value that SOPS encrypted begins with. */
const sealed = "ENC[AES256_GCM";

/** Throws `config` for a value that was never decrypted, with its key. */
export function refuseSealedValues(values: unknown, keys: string[] = []): void {
  if (typeof values === "string" && values.includes(sealed)) {
    throw new UserError(`the value ${keyPath(keys)} is still encrypted`, {
      code: "config",
      fix: "Decrypt it with the keys that its file names, or move it to the profile's secrets.yaml.",
    });
  }
  if (typeof values !== "object" || values === null) return;
  for (const [key, value] of Object.entries(values)) refuseSealedValues(value, [...keys, key]);
}

/** Throws `config` for manifests, hooks among them, in which something is still encrypted, be it in a Secret's base64. */
export function refuseSealedManifests(manifests: string): void {
  const offset = Math.max(...sealedForms.map((form) => manifests.indexOf(form)));
  if (offset === -1) return;
  // Helm writes the template's path before each document.
  const sources = [...manifests.slice(0, offset).matchAll(/^# Source: (.+)$/gm)];
  throw new UserError(`${sources.at(-1)?.[1] ?? "the chart"} renders values that are still encrypted`, {
    code: "config",
    fix: "Take the values from .Values; the files of a profile are encrypted.",
  });
}

/** As it is, and inside base64, which depends on how many bytes of a group of three stand before it. */
const sealedForms = [
  sealed,
  ...[0, 1, 2].map((before) => {
    const encoded = Buffer.from("\0".repeat(before) + sealed).toString("base64");
    return encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + sealed.length) * 8) / 6));
  }),
];

/** The paths of the encrypted files that kws opens itself; Helm needs none of them. */
export function secretsFiles(files: ArchiveFiles): string[] {
  return [...files.keys()].filter((path) => /^[^/]+\/profiles\/[^/]+\/secrets\.yaml$/.test(path));
}

/**
 * Whether manifests have to be looked at before they are used. What Helm makes of a chart without its `secretsFiles` comes from
 * the other files and from the values, so it holds nothing encrypted if they do not. Templates that read files (`.Files`, also
 * in a value that goes through `tpl`) may mean the ones that would be missing, and are better told than left with nothing.
 */
export function mayRenderSealed(files: ArchiveFiles, values: Values): boolean {
  const withheld = secretsFiles(files);
  const others = [...files].filter(([path]) => !withheld.includes(path));
  if (others.some(([path]) => isArchive(path))) return true;
  // One character for each byte.
  const texts = others.map(([, content]) => Buffer.from(content).toString("latin1"));
  return [JSON.stringify(values), ...texts].some(
    (text) => /\bFiles\b/.test(text) || sealedForms.some((form) => text.includes(form)),
  );
}
