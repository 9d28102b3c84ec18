/** Instructions that change an image's configuration and none of its files. */
import type { ImageConfig } from "@kws/oci/manifest";
import type { Instruction } from "./parse.ts";
import { syntaxError } from "./parse.ts";
import { WordError, expandWord, splitWords } from "./words.ts";
import type { Lookup } from "./words.ts";

export interface SettingsContext {
  escape: string;
  lookup: Lookup;
  /** Whether this stage has set CMD itself; an ENTRYPOINT clears one that comes from the base image. */
  commandIsOwn: boolean;
}

const defaultShell = ["/bin/sh", "-c"];

/** Runs the reader and gives its faults a place. */
export function placed<T>(instruction: Instruction, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof WordError)) throw error;
    throw syntaxError(instruction.at, `${instruction.keyword}: ${error.message}`);
  }
}

/** The command of RUN, CMD and ENTRYPOINT, as an argument list. */
export function commandOf(instruction: Instruction, config: ImageConfig): string[] {
  return instruction.json ?? [...(config.Shell ?? defaultShell), instruction.text];
}

/** `key=value` pairs, or the old form of one key and the rest of the line. */
export function pairs(instruction: Instruction, escape: string, lookup: Lookup): [string, string][] {
  return placed(instruction, () => {
    const words = splitWords(instruction.text, escape, lookup);
    const first = /^\S+/.exec(instruction.text)?.[0] ?? "";
    if (!first.includes("=")) {
      const rest = instruction.text.slice(first.length).trim();
      if (rest === "") throw new WordError(`"${first}" has no value`);
      return [[first, expandWord(rest, escape, lookup)]];
    }
    return words.map((word): [string, string] => {
      const cut = word.indexOf("=");
      if (cut < 1) throw new WordError(`"${word}" is not key=value`);
      return [word.slice(0, cut), word.slice(cut + 1)];
    });
  });
}

/** `NAME=value` lines with one changed or added. */
export function withEnv(env: string[], name: string, value: string): string[] {
  const at = env.findIndex((line) => line.startsWith(`${name}=`));
  const line = `${name}=${value}`;
  return at === -1 ? [...env, line] : env.with(at, line);
}

export function envRecord(env: string[] | undefined): Record<string, string> {
  return Object.fromEntries(
    (env ?? []).map((line): [string, string] => {
      const cut = line.indexOf("=");
      return cut === -1 ? [line, ""] : [line.slice(0, cut), line.slice(cut + 1)];
    }),
  );
}

/** The changed configuration, or undefined where the instruction is not one of these. */
export function applySetting(
  config: ImageConfig,
  instruction: Instruction,
  context: SettingsContext,
): ImageConfig | undefined {
  const { escape, lookup } = context;
  const words = () => placed(instruction, () => splitWords(instruction.text, escape, lookup));
  const word = () => placed(instruction, () => expandWord(instruction.text, escape, lookup));
  switch (instruction.keyword) {
    case "ENV": {
      let env = config.Env ?? [];
      for (const [name, value] of pairs(instruction, escape, lookup)) env = withEnv(env, name, value);
      return { ...config, Env: env };
    }
    case "LABEL": {
      const labels = Object.fromEntries(pairs(instruction, escape, lookup));
      return { ...config, Labels: { ...config.Labels, ...labels } };
    }
    case "MAINTAINER":
      return { ...config, Labels: { ...config.Labels, maintainer: instruction.text } };
    case "USER":
      return { ...config, User: word() };
    case "STOPSIGNAL":
      return { ...config, StopSignal: word() };
    case "EXPOSE":
      return { ...config, ExposedPorts: { ...config.ExposedPorts, ...ports(instruction, words()) } };
    case "VOLUME": {
      const paths = instruction.json ?? words();
      const volumes = Object.fromEntries(paths.map((path) => [path, {}]));
      return { ...config, Volumes: { ...config.Volumes, ...volumes } };
    }
    case "SHELL":
      if (instruction.json === undefined || instruction.json.length === 0) {
        throw syntaxError(instruction.at, "SHELL takes a JSON list", 'write it as ["/bin/bash", "-c"]');
      }
      return { ...config, Shell: instruction.json };
    case "CMD":
      return { ...config, Cmd: commandOf(instruction, config) };
    case "ENTRYPOINT": {
      const { Cmd, ...rest } = config;
      const kept = context.commandIsOwn && Cmd !== undefined ? { Cmd } : {};
      return { ...rest, ...kept, Entrypoint: commandOf(instruction, config) };
    }
    case "HEALTHCHECK":
      return { ...config, Healthcheck: healthcheck(instruction, config) };
    default:
      return undefined;
  }
}

function ports(instruction: Instruction, words: string[]): Record<string, object> {
  const result: Record<string, object> = {};
  for (const word of words) {
    const match = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/i.exec(word);
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (match === null || first < 1 || last > 65_535 || last < first) {
      throw syntaxError(instruction.at, `"${word}" is not a port`, "write it as 8080 or 53/udp");
    }
    for (let port = first; port <= last; port += 1) {
      result[`${port}/${(match[3] ?? "tcp").toLowerCase()}`] = {};
    }
  }
  return result;
}

function healthcheck(instruction: Instruction, config: ImageConfig): ImageConfig["Healthcheck"] {
  if (instruction.text.toUpperCase() === "NONE") return { Test: ["NONE"] };
  const command = /^CMD\s+(.+)$/is.exec(instruction.text)?.[1];
  if (command === undefined) {
    throw syntaxError(instruction.at, "HEALTHCHECK takes CMD and a command, or NONE");
  }
  const result: NonNullable<ImageConfig["Healthcheck"]> = {
    Test: jsonList(command) ?? ["CMD-SHELL", command],
  };
  for (const { name, value } of instruction.flags) {
    if (name === "retries") result.Retries = Number(value);
    else if (name === "interval") result.Interval = nanoseconds(instruction, value);
    else if (name === "timeout") result.Timeout = nanoseconds(instruction, value);
    else if (name === "start-period") result.StartPeriod = nanoseconds(instruction, value);
    else if (name !== "start-interval") {
      throw syntaxError(instruction.at, `HEALTHCHECK knows no --${name}`);
    }
  }
  if (config.Shell !== undefined && result.Test[0] === "CMD-SHELL") {
    return { ...result, Test: ["CMD", ...config.Shell, command] };
  }
  return result;
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? ["CMD", ...value.map(String)] : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A duration as Go writes it: `1m30s`, `500ms`. */
function nanoseconds(instruction: Instruction, text: string): number {
  const units: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== text) {
    throw syntaxError(instruction.at, `"${text}" is not a duration`, "write it as 30s or 1m30s");
  }
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ""] ?? 0), 0);
}
