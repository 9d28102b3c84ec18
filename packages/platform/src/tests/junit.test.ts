import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { readJUnit, readReports } from "./junit.ts";

test("tests are counted however suites are nested, and failures keep their message", async () => {
  const report = await readJUnit([
    `<?xml version="1.0"?><testsuites><testsuite name="a"><testsuite name="b">`,
    `<testcase classname="Cart" name="adds"/><testcase classname="Cart" name="re`,
    `moves"><failure message="expected 1 &lt; 2">at cart.js:3</failure></testcase>`,
    `</testsuite><testcase name="later"><skipped/></testcase>`,
    `<testcase name="crashes"><error><![CDATA[<boom> & more]]></error></testcase></testsuite></testsuites>`,
  ]);
  expect(report).toEqual({
    counts: { passed: 1, failed: 2, skipped: 1 },
    failures: [
      { suite: "Cart", name: "removes", message: "expected 1 < 2" },
      { suite: "", name: "crashes", message: "<boom> & more" },
    ],
  });
});

test("other XML is passed over", async () => {
  expect(await readJUnit(["<coverage><testcase name='no'/></coverage>"])).toBeUndefined();
});

test.each([
  ["cut short", "<testsuite><testcase name='a'>", /Unclosed root tag/],
  ["no XML", "all 12 tests passed", /Non-whitespace before first tag/],
  [
    "entities that expand",
    `<!DOCTYPE t [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>`,
    /Invalid character entity/,
  ],
  [
    "files of this machine",
    `<!DOCTYPE t [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuite><testcase name="x"><failure>&a;</failure></testcase></testsuite>`,
    /Invalid character entity/,
  ],
])("refused: %s", async (_, text, message) => {
  await expect(readJUnit([text])).rejects.toThrow(message);
});

test("of many failures and long messages the beginning is kept, and all are counted", async () => {
  const failures = Array.from(
    { length: 150 },
    (_, n) => `<testcase name="t${n}"><failure>${"x".repeat(9000)}</failure></testcase>`,
  );
  const report = await readJUnit(["<testsuite>", ...failures, "</testsuite>"]);
  expect(report?.counts.failed).toBe(150);
  expect(report?.failures).toHaveLength(100);
  expect(report?.failures[0]?.message).toHaveLength(4000);
});

test("the reports of a folder are added up, and the one that cannot be read is told", async () => {
  await using dir = await tempDir("kws-junit");
  await mkdir(join(dir.path, "deep"));
  await writeFile(join(dir.path, "a.xml"), "<testsuite><testcase name='a'/></testsuite>");
  await writeFile(join(dir.path, "deep/b.xml"), "<testsuites><testcase name='b'/></testsuites>");
  await writeFile(join(dir.path, "deep/c.xml"), "<testsuite>");
  await writeFile(join(dir.path, "notes.txt"), "<testsuite>");
  expect(await readReports(dir.path)).toEqual({
    counts: { passed: 2, failed: 0, skipped: 0 },
    failures: [],
    files: 2,
    notes: [expect.stringMatching(/^deep\/c\.xml is not JUnit XML: Unclosed root tag/)],
  });
});

test("a folder that is not there has no reports", async () => {
  await using dir = await tempDir("kws-junit");
  expect((await readReports(join(dir.path, "none"))).files).toBe(0);
});
