/** Subjects of analyses in tests: a real folder, and no cluster unless the test brings one. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { locations } from "../../project/locations.ts";
import type { Provider } from "../../providers/provider.ts";
import { type Analysis, analyze, type ReportedFinding } from "../analyze.ts";
import { openSubject, type Subject, type SubjectOptions } from "../subject.ts";

export async function writeFiles(dir: string, files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  }
}

/** What lies in `dir`, with a home of its own in it. */
export function subjectIn(dir: string, options: Partial<SubjectOptions> = {}): Subject {
  const home = join(dir, "home");
  const env = { PATH: process.env["PATH"], HOME: home };
  // The programs that npm brought are unpacked once, for all tests.
  const cache = locations(process.env, process.env["HOME"] ?? "/").cache;
  return openSubject({
    env,
    home,
    cwd: dir,
    locations: { ...locations(env, home), cache },
    file: join(dir, "kws.yaml"),
    chosen: [],
    clock: () => Date.parse("2026-03-01T00:00:00Z"),
    signal: AbortSignal.timeout(60_000),
    provider: async () => ({ name: "embedded", status: stopped }) as unknown as Provider,
    connect: () => Promise.reject(new Error("there is no cluster")),
    ...options,
  });
}

const stopped = async () => ({ provider: "embedded", name: "default", managed: true, state: "stopped" });

export function run(subject: Subject, ...only: string[]): Promise<Analysis> {
  return analyze(subject, { only, skip: [], fix: false, now: () => 0 });
}

/** `severity where: message`, without the folder; what is in order is left out. */
export function lines({ findings }: { findings: ReportedFinding[] }, dir: string): string[] {
  return findings
    .filter(({ severity }) => severity !== "ok")
    .map(({ severity, where, message }) =>
      `${severity} ${where === undefined ? "" : `${where}: `}${message}`.replaceAll(`${dir}/`, ""),
    );
}
