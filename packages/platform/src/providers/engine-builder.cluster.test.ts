/** Images that real engines build end in the image store of kws. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { embeddedBuilder } from "./embedded.ts";
import { engineBuilder } from "./engine-builder.ts";
import { openImage } from "./image-archive.ts";
import type { BuiltImage } from "./provider.ts";
import { enginesMissing, onPath, startDocker } from "@kws/oci/testing/engines";

interface Built {
  first: BuiltImage;
  again: BuiltImage;
  config: unknown;
  layers: number;
}

/** Builds the same twice. */
async function built(engine: "docker" | "buildah", env: NodeJS.ProcessEnv): Promise<Built> {
  await using dir = await tempDir("kws-test");
  const home = join(dir.path, "data");
  const store = embeddedBuilder({ home, env });
  const builder = engineBuilder({
    engine,
    home,
    env,
    imageRepository: (name) => store.imageRepository(name),
  });
  const context = join(dir.path, "orders");
  await mkdir(context);
  const dockerfile = join(context, "Dockerfile");
  await writeFile(dockerfile, "FROM scratch\nARG WHO\nLABEL who=$WHO\nCOPY app /app\n");
  await writeFile(join(context, "app"), "program");
  const build = {
    builder: "dockerfile",
    name: "shop/orders",
    context,
    dockerfile,
    args: { WHO: "me" },
  } as const;

  const first = await builder.buildImage(build, {});
  const again = await builder.buildImage(build, {});
  const { document, manifest } = await openImage(
    await builder.imageRepository(first.repository),
    first.tag,
    first.digest,
  );
  return { first, again, config: document.config, layers: manifest.layers.length };
}

test("what has no Dockerfile is refused", async () => {
  const imageRepository = () => Promise.reject(new Error("unused"));
  const builder = engineBuilder({ engine: "docker", home: "", env: {}, imageRepository });
  const build = {
    builder: "node",
    name: "shop/orders",
    context: "/orders",
    dockerfile: "",
    args: {},
  } as const;
  await expect(builder.checkBuild(build, { incomplete: false })).rejects.toMatchObject({
    code: "config",
    fix: expect.stringContaining("/orders/Dockerfile"),
  });
});

test.skipIf(enginesMissing(process.env))("Docker Engine builds", async () => {
  await using engine = await startDocker(process.env);
  const result = await built("docker", engine.env);
  expect(result).toMatchObject({
    first: { repository: "kws.local/shop/orders", tag: "dev", cached: false },
    again: { digest: result.first.digest, cached: true },
    config: { Labels: { who: "me" } },
    layers: 1,
  });
});

test.skipIf(process.getuid?.() !== 0 || !onPath("buildah", process.env))("buildah builds", async () => {
  await using dir = await tempDir("kws-test");
  await writeFile(
    join(dir.path, "storage.conf"),
    `[storage]\ndriver = "vfs"\ngraphroot = "${dir.path}/root"\nrunroot = "${dir.path}/run"\n`,
  );
  const result = await built("buildah", {
    ...process.env,
    CONTAINERS_STORAGE_CONF: join(dir.path, "storage.conf"),
    BUILDAH_ISOLATION: "chroot",
  });
  expect(result).toMatchObject({
    first: { repository: "kws.local/shop/orders", tag: "dev", cached: false },
    again: { digest: result.first.digest, cached: true },
    config: { Labels: { who: "me" } },
    layers: 1,
  });
});
