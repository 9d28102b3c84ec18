/** Images that come from an archive, as another tool wrote it, and from a registry in this process. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRegistry } from "@kws/cluster/images/registry-fixture";
import { openImageStore } from "@kws/cluster/images/store";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { newKws, repository, type Kws } from "./kws.ts";

let kws: Kws;
let archive: string;
/** Of the image's only layer. */
let bytes: Buffer;

beforeAll(async () => {
  kws = await newKws();
  archive = join(kws.home, "image.tar");
  const store = await openImageStore(join(kws.home, "other-store"));
  const layer = await store.addLayer([{ path: "greeting", type: "file", source: Buffer.from("hello") }]);
  await store.addImage({ config: { Cmd: ["/greeting"] }, layers: [layer], references: ["team/hello:1"] });
  await store.export("team/hello:1", archive);
  bytes = await readFile(store.blobs.path(layer.descriptor.digest));
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

test("an image is pulled from its registry, and one that is not there is told, at its line in a Dockerfile", async () => {
  await using registry = await startRegistry();
  const layers = [{ mediaType: mediaTypes.layer, bytes, diffId: sha256(bytes) }];
  const { digest } = registry.putImage({ layers }, "1");
  const reference = `${registry.host}/team/hello:1`;
  const pulled = await kws.json<Image>("image", "pull", reference);
  expect(pulled).toEqual({ references: [reference], digest, size: bytes.length });
  expect((await kws.run(["image", "pull", `${registry.host}/team/hello:2`])).code).toBe(5);

  const folder = join(kws.home, "shop");
  await cp(join(repository, "examples/shop/payments"), join(folder, "payments"), { recursive: true });
  await writeFile(join(folder, "kws.yaml"), "name: shop\nservices: [./payments]\n");
  const check = async (dockerfile: string) => {
    await writeFile(join(folder, "payments/Dockerfile"), dockerfile);
    return kws.run(["stack", "start", "--dry-run"], { cwd: folder });
  };
  registry.requests.length = 0;
  expect((await check(`FROM ${reference}\nCOPY src /src\n`)).code).toBe(0);
  expect(registry.requests).toEqual([]);
  const { code, stderr } = await check(
    `FROM ${reference}\nCOPY --from=${registry.host}/team/hello:2 /a /b\n`,
  );
  expect(code).toBe(4);
  expect(stderr).toMatch(/does not have it \(404\)[^]*payments\/Dockerfile:2:1/);
});
