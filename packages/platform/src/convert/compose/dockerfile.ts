/** What a service's Dockerfile says that its Compose file does not: where the program is, and what it listens on. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import { get, text, type Tree } from "./tree.ts";

export interface Dockerfile {
  /** The last absolute WORKDIR. */
  workdir: string | undefined;
  /** TCP ports that are exposed. */
  ports: number[];
  /** What runs, by the last ENTRYPOINT and CMD; undefined where there is neither. */
  command: string[] | undefined;
}

/** Empty where the service is not built, or the Dockerfile is not there. */
export async function dockerfileOf(service: Tree): Promise<Dockerfile> {
  const content = await textOf(service);
  const exposed = [...content.matchAll(/^\s*EXPOSE\s+(.+)$/gim)].flatMap(([, ports = ""]) =>
    ports.split(/\s+/),
  );
  return {
    workdir: [...content.matchAll(/^\s*WORKDIR\s+"?(\/[^\s"$]*)/gim)].at(-1)?.[1]?.replace(/(.)\/+$/, "$1"),
    ports: exposed.filter((port) => /^\d+(\/tcp)?$/.test(port)).map((port) => Number.parseInt(port, 10)),
    command: commandOf(content),
  };
}

function commandOf(content: string): string[] | undefined {
  const lines = ["ENTRYPOINT", "CMD"].flatMap((word) => {
    const line = [...content.matchAll(new RegExp(`^\\s*${word}\\s+(.+)$`, "gim"))].at(-1)?.[1];
    return line === undefined ? [] : [line];
  });
  // The list form is JSON, and the words are all that matters here.
  return lines.length === 0
    ? undefined
    : lines
        .join(" ")
        .replaceAll(/[[\]",]/g, " ")
        .trim()
        .split(/\s+/);
}

async function textOf(service: Tree): Promise<string> {
  const inline = text(get(service, "build", "dockerfile_inline"));
  const context = text(get(service, "build", "context"));
  if (inline !== undefined || context === undefined || !isAbsolute(context)) return inline ?? "";
  const path = resolve(context, text(get(service, "build", "dockerfile")) ?? "Dockerfile");
  return existsSync(path) ? readFile(path, "utf8") : "";
}
