/** Images that come from an archive, as another tool wrote it. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openImageStore } from "@kws/cluster/images/store";
import { newKws, type Kws } from "./kws.ts";

let kws: Kws;
let archive: string;

beforeAll(async () => {
  kws = await newKws();
  archive = join(kws.home, "image.tar");
  const store = await openImageStore(join(kws.home, "other-store"));
  const layer = await store.addLayer([{ path: "greeting", type: "file", source: Buffer.from("hello") }]);
  await store.addImage({ config: { Cmd: ["/greeting"] }, layers: [layer], references: ["team/hello:1"] });
  await store.export("team/hello:1", archive);
});
afterAll(() => kws[Symbol.asyncDispose]());

interface Image {
  references: string[];
  digest: string;
}

test("an archive is imported under its own name and a given one, listed, and forgotten", async () => {
  const imported = await kws.json<Image>("image", "import", archive, "--name", "mine:2");
  expect(imported.references.toSorted()).toEqual(["mine:2", "team/hello:1"]);
  expect(await kws.json<Image[]>("image", "list")).toEqual([imported]);
  for (const name of imported.references) expect((await kws.run(["image", "remove", name])).code).toBe(0);
  expect((await kws.json<Image[]>("image", "list")).flatMap(({ references }) => references)).toEqual([]);
  expect((await kws.run(["image", "remove", "mine:2"])).code).toBe(5);
});

test("what is no archive is refused by its name, and nothing is stored", async () => {
  const path = join(kws.home, "photo.tar");
  await writeFile(path, "not an archive");
  const { code, stderr } = await kws.run(["image", "import", path]);
  expect(code).toBe(4);
  expect(stderr).toContain("photo.tar");
  expect((await kws.run(["image", "import", join(kws.home, "absent.tar")])).code).toBe(5);
});
