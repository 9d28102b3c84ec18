/** Builds with real sandboxes, on the base image of this machine; as root and as an ordinary user. */
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ordinaryUser } from "../kubelet/testing/ordinary-user.ts";
import { removeTree } from "./unpack.ts";

const program = (name: string) => fileURLToPath(new URL(name, import.meta.url));
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "image-builds-"));
  await chmod(dir, 0o755);
  await mkdir(join(dir, "context"));
  await writeFile(join(dir, "context/app.js"), "console.log('hello')");
  await writeFile(
    join(dir, "context/Dockerfile"),
    [
      `FROM kws.local/node:${process.versions.node.split(".")[0]} AS build`,
      "WORKDIR /src",
      "COPY . .",
      "RUN node app.js > out.txt && rm app.js",
      "RUN touch /home/node/old",
      "RUN rm -rf /home/node && mkdir /home/node && echo new > /home/node/file",
      "RUN --mount=type=cache,target=/cache <<EOF",
      "set -e",
      "ls /src /home/node > listing.txt",
      "umask 077; echo closed > closed.txt",
      "ln closed.txt linked.txt",
      "EOF",
      `FROM kws.local/node:${process.versions.node.split(".")[0]}`,
      "COPY --from=build /src /result",
    ].join("\n"),
  );
});
afterAll(() => removeTree(dir));

/** Builds twice in a process of its own, which may have another user, and says what came of it. */
async function build(prefix: string[], store: string) {
  const script = `
    import { openImageStore } from ${JSON.stringify(program("./store.ts"))};
    import { buildDockerfile } from ${JSON.stringify(program("./build.ts"))};
    import { readText, listDirectory } from ${JSON.stringify(program("./rootfs.ts"))};
    const [context, dir] = process.argv.slice(1);
    const store = await openImageStore(dir);
    const build = () => buildDockerfile({ context, store, tags: ["t:1"] });
    const first = await build();
    const second = await build();
    const { layers } = await store.find("t:1");
    const files = {};
    for (const name of await listDirectory(layers, "result")) files[name] = await readText(layers, "result/" + name);
    console.log(JSON.stringify({ first, second, files }));
  `;
  const [command, ...args] = [...prefix, process.execPath];
  const { stdout } = await promisify(execFile)(command, [
    ...args,
    "--input-type=module",
    "--eval",
    script,
    join(dir, "context"),
    store,
  ]);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as {
    first: { digest: string; cached: boolean };
    second: { digest: string; cached: boolean };
    files: Record<string, string>;
  };
}

const expectedFiles = {
  Dockerfile: expect.any(String),
  "closed.txt": "closed\n",
  "linked.txt": "closed\n",
  // The home directory was made anew, so nothing of the base image's is left in it.
  "listing.txt": "/home/node:\nfile\n\n/src:\nDockerfile\nlisting.txt\nout.txt\n",
  "out.txt": "hello\n",
};

describe("a Dockerfile with RUN", () => {
  test("builds as the current user, and again from its cache", async () => {
    const { first, second, files } = await build([], join(dir, "own"));
    expect(files).toEqual(expectedFiles);
    expect([first.cached, second.cached]).toEqual([false, true]);
    expect(second.digest).toBe(first.digest);
  });

  test.runIf(ordinaryUser)("builds as an ordinary user", async () => {
    const home = join(dir, "home");
    await mkdir(home);
    await chmod(home, 0o777);
    const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const built = await build([...user, "env", `HOME=${home}`], join(home, "store"));
    expect(built.files).toEqual(expectedFiles);
    expect([built.first.cached, built.second.cached]).toEqual([false, true]);
  });
});
