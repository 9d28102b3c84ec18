/** Images reach the stores of nodes by what those lack, on a real containerd and a real Docker Engine. */
import { run } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { sha256 } from "@kws/oci/descriptor";
import { openLayout } from "@kws/oci/layout";
import type { Repository } from "@kws/oci/repository";
import { expect, test } from "vitest";
import { loadImage, type NodeStore } from "./node-store.ts";
import { type Engine, enginesMissing, startContainerd, startDocker } from "@kws/oci/testing/engines";

const engines = [
  ["containerd", startContainerd],
  ["docker", startDocker],
] as const;

test.skipIf(enginesMissing(process.env)).each(engines)(
  "%s gets the layers that it lacks, and no others",
  async (kind, start) => {
    await using folder = await tempDir("kws-test");
    await using engine = await start(process.env);
    const repository = (await openLayout(folder.path)).repository("kws.local/shop/orders");
    const store: NodeStore = { kind, node: kind, command: [kind === "docker" ? "docker" : "ctr"] };
    const load = (tag: string, digest: string) =>
      loadImage(store, { repository, tag, digest }, { env: engine.env });
    const [base, one, two] = [tar("base", 100_000), tar("app", 1000), tar("app", 2000)];
    const [first, second] = [
      await addImage(repository, [base, one]),
      await addImage(repository, [base, two]),
    ];
    const whole = base.length + one.length;

    expect(await load("dev", first)).toEqual({ sent: whole, total: whole });
    expect(await load("dev", first), "nothing is sent twice").toBeUndefined();
    expect(await load("dev", second)).toEqual({ sent: two.length, total: base.length + two.length });
    expect(await load("other", second), "a name is all that is new").toMatchObject({ sent: 0 });
    // The node now has another image of that name.
    expect(await load("dev", first)).toMatchObject({ sent: 0 });
    expect(await idOf(engine, kind)).toBe(kind === "docker" ? await configOf(repository, first) : first);
  },
);

/** An archive of one file. */
function tar(name: string, size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.write("        0", 148);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, Buffer.alloc(Math.ceil(size / 512) * 512, 7), Buffer.alloc(1024)]);
}

async function addImage(repository: Repository, layers: Buffer[]): Promise<string> {
  const push = async (content: Buffer, mediaType: string) => {
    const descriptor = { mediaType, digest: sha256(content), size: content.length };
    await repository.pushBlob(descriptor, async function* () {
      yield content;
    });
    return descriptor;
  };
  const config = {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["/app"] },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => sha256(layer)) },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: await push(Buffer.from(JSON.stringify(config)), "application/vnd.oci.image.config.v1+json"),
    layers: await Promise.all(layers.map((layer) => push(layer, "application/vnd.oci.image.layer.v1.tar"))),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return (await repository.pushManifest(bytes, manifest.mediaType)).digest;
}

async function configOf(repository: Repository, digest: string): Promise<string> {
  const { bytes } = await repository.manifest(digest);
  const manifest = JSON.parse(Buffer.from(bytes).toString()) as { config: { digest: string } };
  return manifest.config.digest;
}

/** What the engine says that `kws.local/shop/orders:dev` is. */
async function idOf({ env }: Engine, kind: NodeStore["kind"]): Promise<string | undefined> {
  const name = "kws.local/shop/orders:dev";
  if (kind === "docker") {
    return (await run("docker", ["image", "inspect", "--format", "{{.Id}}", name], { env })).stdout.trim();
  }
  const { stdout } = await run(
    "ctr",
    ["--namespace", "k8s.io", "images", "ls", `name==${JSON.stringify(name)}`],
    {
      env,
    },
  );
  return /sha256:[0-9a-f]{64}/.exec(stdout)?.[0];
}
