/**
 * JUnit XML, as test runners write it: a `testsuite`, or several below `testsuites`, with a `testcase` for each test. There is no
 * standard; what all of them agree on is read (https://github.com/testmoapp/junitxml). A file is data from elsewhere: it is read as
 * a stream, no entity is expanded but XML's own five, and of long texts the beginning is kept.
 */
import { createReadStream } from "node:fs";
import { glob, stat } from "node:fs/promises";
import { join } from "node:path";
import type { SAXParser } from "sax";
import { UserError } from "@kws/base/errors";

export interface TestFailure {
  /** The class or file, where it is told. */
  suite: string;
  name: string;
  message: string;
}

export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface TestReport {
  counts: TestCounts;
  /** At most 100. */
  failures: TestFailure[];
}

export interface Reports extends TestReport {
  /** Files that hold JUnit XML. */
  files: number;
  /** What was wrong with others. */
  notes: string[];
}

const limits = { file: 32 * 1024 * 1024, files: 1000, failures: 100, message: 4000, name: 300 };

/** What one test ended with. */
export type OnTest = (test: { suite: string; name: string; outcome: Case["outcome"] }) => void;

/** All `*.xml` below the folder; other XML than JUnit's is passed over. `onTest` is told of every test. */
export async function readReports(folder: string, onTest?: OnTest): Promise<Reports> {
  const all: Reports = { counts: { passed: 0, failed: 0, skipped: 0 }, failures: [], files: 0, notes: [] };
  const paths: string[] = [];
  for await (const path of glob("**/*.xml", { cwd: folder })) paths.push(path);
  if (paths.length > limits.files) all.notes.push(`of ${paths.length} reports, ${limits.files} were read`);
  for (const path of paths.sort().slice(0, limits.files)) {
    const { size } = await stat(join(folder, path));
    if (size > limits.file) {
      all.notes.push(`${path} was not read: it has more than ${limits.file / 1024 / 1024} MB`);
      continue;
    }
    try {
      const report = await readJUnit(createReadStream(join(folder, path), "utf8"), onTest);
      if (report === undefined) continue;
      all.files++;
      for (const key of ["passed", "failed", "skipped"] as const) all.counts[key] += report.counts[key];
      all.failures.push(...report.failures.slice(0, limits.failures - all.failures.length));
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      all.notes.push(`${path} is not JUnit XML: ${error.message}`);
    }
  }
  return all;
}

interface Case {
  suite: string;
  name: string;
  outcome: "passed" | "failed" | "skipped";
  message: string;
  text: string;
}

/** Undefined for XML that is something else. Throws a `UserError` where it is not well-formed. */
export async function readJUnit(
  chunks: AsyncIterable<string> | Iterable<string>,
  onTest?: OnTest,
): Promise<TestReport | undefined> {
  const { default: sax } = await import("sax");
  const parser = sax.parser(true);
  const report: TestReport = { counts: { passed: 0, failed: 0, skipped: 0 }, failures: [] };
  let root: string | undefined;
  let current: Case | undefined;
  /** Inside of a failure's element, whose text tells more. */
  let telling = false;
  const onText = (text: string) => {
    if (current === undefined || !telling) return;
    current.text += text.slice(0, limits.message - current.text.length);
  };
  const handlers: Partial<SAXParser> = {
    onerror(error) {
      throw new UserError(error.message.replaceAll(/\s*\n\s*/g, ", "), { cause: error });
    },
    onopentag({ name, attributes }) {
      const text = (key: string) => {
        const value: unknown = attributes[key];
        return typeof value === "string" ? value : "";
      };
      root ??= name;
      if (name === "testcase") {
        const suite = (text("classname") || text("file")).slice(0, limits.name);
        current = {
          suite,
          name: text("name").slice(0, limits.name),
          outcome: "passed",
          message: "",
          text: "",
        };
      } else if (current !== undefined && (name === "failure" || name === "error")) {
        current.outcome = "failed";
        current.message ||= text("message").slice(0, limits.message);
        telling = true;
      } else if (current?.outcome === "passed" && name === "skipped") {
        current.outcome = "skipped";
      }
    },
    ontext: onText,
    oncdata: onText,
    onclosetag(name) {
      if (name === "failure" || name === "error") telling = false;
      if (name !== "testcase" || current === undefined) return;
      report.counts[current.outcome]++;
      onTest?.(current);
      if (current.outcome === "failed" && report.failures.length < limits.failures) {
        const { suite, name: test, message, text } = current;
        report.failures.push({ suite, name: test, message: (message || text).trim() });
      }
      current = undefined;
    },
  };
  Object.assign(parser, handlers);
  for await (const chunk of chunks) parser.write(chunk);
  parser.close();
  return root === "testsuites" || root === "testsuite" ? report : undefined;
}
