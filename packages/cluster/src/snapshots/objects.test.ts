import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { KubeObject } from "@kws/kube/object";
import { openDatabase } from "../storage/database.ts";
import { fillDatabase, goBeyond, writeObjects } from "./objects.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "kws-objects-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const row = (resource: string, object: KubeObject, revision = 5) => {
  const { name, namespace } = object.metadata;
  const key = namespace === undefined ? name : `${namespace}/${name}`;
  return { resource, key, revision, value: JSON.stringify(object) };
};

const pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "db", namespace: "shop", uid: "uid-1" },
  spec: {
    volumes: [
      { name: "work", emptyDir: {} },
      { name: "memory", emptyDir: { medium: "Memory" } },
      { name: "config" },
    ],
    initContainers: [{ image: "init:1" }],
    containers: [{ image: "db:1" }, {}],
  },
  status: { conditions: [{ type: "Ready", status: "True" }], containerStatuses: [{ ready: true }] },
};
const volume = (name: string) => ({
  apiVersion: "v1",
  kind: "PersistentVolume",
  metadata: { name },
  spec: { hostPath: { path: `/somewhere/${name}` } },
});

function contentOf(path: string) {
  const database = openDatabase(path);
  try {
    return { revision: database.revision, rows: [...database.rows()].map(({ value }) => JSON.parse(value)) };
  } finally {
    database.close();
  }
}

test("what is written says which images and which folders belong to it", async () => {
  const template = { apiVersion: "batch/v1", kind: "CronJob", metadata: { name: "c", namespace: "shop" } };
  const spec = { jobTemplate: { spec: { template: { spec: { containers: [{ image: "cron:1" }] } } } } };
  const rows = [row("pods", pod), row("cronjobs.batch", { ...template, spec })];
  const contents = await writeObjects(join(dir, "objects"), { revision: 9, rows });
  expect(contents.objects).toBe(2);
  expect([...contents.images].toSorted()).toEqual(["cron:1", "db:1", "init:1"]);
  expect(contents.emptyDirs).toEqual(["uid-1/volumes/work"]);
});

test("objects come back at their revisions, volumes in their new place, and pods not ready yet", async () => {
  const rows = [
    row("persistentvolumes", volume("other")),
    row("persistentvolumes", volume("pvc-1")),
    row("pods", pod),
  ];
  await writeObjects(join(dir, "objects"), { revision: 9, rows });
  const volumes = { dir: "/new/volumes", names: new Set(["pvc-1"]) };
  await fillDatabase(join(dir, "db"), join(dir, "objects"), volumes);
  const { revision, rows: stored } = contentOf(join(dir, "db"));
  expect(revision).toBe(9);
  expect(stored).toEqual([
    volume("other"),
    { ...volume("pvc-1"), spec: { hostPath: { path: "/new/volumes/pvc-1" } } },
    {
      ...pod,
      status: { conditions: [{ type: "Ready", status: "False" }], containerStatuses: [{ ready: false }] },
    },
  ]);
});

test("the revision is above that of what is replaced, also where that cannot be read", async () => {
  const [path, replaced, broken] = [join(dir, "db"), join(dir, "replaced"), join(dir, "broken")];
  for (const [file, revision] of [
    [path, 9],
    [replaced, 30],
  ] as const) {
    const database = openDatabase(file);
    database.commit([], revision);
    database.close();
  }
  goBeyond(path, replaced);
  expect(contentOf(path).revision).toBe(31);
  await writeFile(broken, "this is no database".repeat(100));
  goBeyond(path, broken);
  expect(contentOf(path).revision).toBe(32);
});

const sound = row("pods", pod);
test.each([
  ["nothing", ""],
  ["no revision", "{}"],
  ["no JSON", '{"revision":9}\nnonsense'],
  ["a resource that is a path", `{"revision":9}\n${JSON.stringify({ ...sound, resource: "../pods" })}`],
  [
    "another key than the object's name",
    `{"revision":9}\n${JSON.stringify({ ...sound, key: "kube-system/db" })}`,
  ],
  ["a revision of the future", `{"revision":9}\n${JSON.stringify({ ...sound, revision: 10 })}`],
  ["an object that is none", `{"revision":9}\n${JSON.stringify({ ...sound, value: "[1]" })}`],
])("a file with %s is refused, with its line", async (_what, text) => {
  await writeFile(join(dir, "objects"), text);
  const filling = fillDatabase(join(dir, "db"), join(dir, "objects"), { dir: "", names: new Set() });
  await expect(filling).rejects.toMatchObject({ code: "config", at: expect.stringMatching(/:\d+$/) });
});
