/** What tests of conversions have in common: the real helm and kubectl, and what was planned as files and as text. */
import { isUtf8 } from "node:buffer";
import { mkdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, relative } from "node:path";
import { libraryPath } from "../../charts/library.ts";
import { locations } from "../../project/locations.ts";
import { locateTool } from "../../tools/locate.ts";
import type { Conversion } from "../plan.ts";

export interface TestTools {
  helm: string;
  kubectl: string;
  env: NodeJS.ProcessEnv;
}

export async function testTools(): Promise<TestTools> {
  const env = { PATH: process.env["PATH"], HOME: homedir() };
  const { cache } = locations(process.env, homedir());
  const [helm, kubectl] = await Promise.all([
    locateTool("helm", { env, cache }),
    locateTool("kubectl", { env, cache }),
  ]);
  return { helm: helm.path, kubectl: kubectl.path, env };
}

/** Files alone: secrets are for what encrypts them. */
export async function writePlanned({ files }: Conversion): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
}

function shownBytes(content: Uint8Array): string {
  return isUtf8(content)
    ? Buffer.from(content).toString()
    : `base64 ${Buffer.from(content).toString("base64")}\n`;
}

/** All of it but the library chart, for a snapshot; places are told from `folder`. */
export function plannedText({ root, files, secrets, findings }: Conversion, folder: string): string {
  const shown = [
    ...files,
    ...secrets.map(({ path, values }) => [path, JSON.stringify(values, undefined, 2)] as const),
  ]
    .filter(([path]) => !path.includes(`/${libraryPath}/`))
    .map(([path, content]): [string, string] => [
      relative(root, path),
      typeof content === "string" ? content : shownBytes(content),
    ])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    ...shown.map(([path, text]) => `--- ${path}\n${text}`),
    "--- findings",
    ...findings.map(({ severity, key, at, message, fix }) =>
      `${severity} ${at} ${key}: ${message}${fix === undefined ? "" : ` ${fix}`}`.replaceAll(folder, ""),
    ),
    "",
  ].join("\n");
}
