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
  /** The last HEALTHCHECK, in the words of Compose. */
  healthcheck: ({ test: string[] } & Partial<Record<HealthOption, string>>) | undefined;
  /** What runs, by the last ENTRYPOINT and CMD; undefined where there is neither. */
  command: string[] | undefined;
}

type HealthOption = "interval" | "timeout" | "retries" | "start_period" | "start_interval";

/** Empty where the service is not built, or the Dockerfile is not there. */
export async function dockerfileOf(service: Tree): Promise<Dockerfile> {
  // Lines that go on after a backslash are one instruction.
  const content = (await textOf(service)).replaceAll(/\\[ \t]*\n(?:[ \t]*#.*\n)*/g, " ");
  const exposed = [...content.matchAll(/^\s*EXPOSE\s+(.+)$/gim)].flatMap(([, ports = ""]) =>
    ports.split(/\s+/),
  );
  return {
    workdir: [...content.matchAll(/^\s*WORKDIR\s+"?(\/[^\s"$]*)/gim)].at(-1)?.[1]?.replace(/(.)\/+$/, "$1"),
    ports: exposed.filter((port) => /^\d+(\/tcp)?$/.test(port)).map((port) => Number.parseInt(port, 10)),
    healthcheck: healthcheckIn(content),
    command: commandOf(content),
  };
}

/** `HEALTHCHECK [--interval=…] … CMD <words>`, in a shell's form or as a JSON list; `NONE` takes away an earlier one. */
function healthcheckIn(content: string): Dockerfile["healthcheck"] {
  const [, options = "", command = ""] =
    [...content.matchAll(/^\s*HEALTHCHECK\s+((?:--[a-z-]+=\S+\s+)*)(?:CMD\s+(.+)|NONE\s*)$/gim)].at(-1) ?? [];
  if (command === "") return undefined;
  const option = (name: HealthOption) => {
    const value = new RegExp(`--${name.replace("_", "-")}=(\\S+)`).exec(options)?.[1];
    return value === undefined ? {} : { [name]: value };
  };
  return {
    test: command.trim().startsWith("[") ? ["CMD", ...wordsOf(command)] : ["CMD-SHELL", command.trim()],
    ...option("interval"),
    ...option("timeout"),
    ...option("retries"),
    ...option("start_period"),
    ...option("start_interval"),
  };
}

/** Of the JSON form; a shell's words where it is none, as Docker takes it. */
function wordsOf(command: string): string[] {
  try {
    const words: unknown = JSON.parse(command);
    if (Array.isArray(words)) return words.map(String);
  } catch {
    // Docker runs what is no JSON in a shell.
  }
  return ["/bin/sh", "-c", command];
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
