import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { UserError } from "@kws/base/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fingerprint } from "../context.ts";
import { listDirectory, locate, readText } from "../rootfs.ts";
import { openImageStore } from "../store.ts";
import type { LocalImageStore } from "../store.ts";
import type { Puller } from "../pull.ts";
import { rawTar } from "../tar-fixture.ts";
import { removeTree } from "../unpack.ts";
import { buildDockerfile, checkDockerfile } from "./build.ts";
import type { BuildOptions, CheckOptions } from "./build.ts";
import type { RunInSandbox } from "./run.ts";

let dir: string;
let context: string;
let store: LocalImageStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "build-"));
  context = join(dir, "context");
  await mkdir(context);
  store = await openImageStore(join(dir, "store"));
});
afterEach(() => removeTree(dir));

async function put(files: Record<string, string>) {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(context, path)), { recursive: true });
    await writeFile(join(context, path), content);
  }
}

const node = { path: process.execPath, version: process.versions.node };

/** A registry that has nothing. */
const missing = async (reference: string): Promise<never> => {
  throw new UserError(`${reference} is in no registry`, { code: "not-found", fix: "Correct the name." });
};
const puller: Puller = { pull: missing, configOf: missing };

async function build(dockerfile: string, more: Partial<BuildOptions> = {}) {
  await put({ Dockerfile: dockerfile });
  const result = await buildDockerfile({ context, store, puller, tags: ["demo:1"], node, ...more });
  const image = await store.find(result.digest);
  if (image === undefined) throw new Error("the image was not stored");
  return { ...result, image };
}

async function refusal(promise: Promise<unknown>): Promise<UserError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
}

/** Stands in for a sandbox where only the bookkeeping around it is of interest: writes one file named by the command. */
const writes: RunInSandbox = async ({ upperDir, argv, env }) => {
  await writeFile(join(upperDir, argv.at(-1) ?? ""), JSON.stringify(env));
  return 0;
};

describe("ADD", () => {
  test.each([
    {
      what: "an entry outside",
      tar: rawTar([{ name: "../evil" }]),
      says: 'the entry "../evil" lies outside',
    },
    {
      what: "a link out of the image",
      tar: rawTar([{ name: "link", type: "2", link: "../../etc" }]),
      says: 'the entry "link" is a symbolic link out of the image',
    },
    {
      what: "a device",
      tar: rawTar([{ name: "disk", type: "3" }]),
      says: 'the entry "disk" is of the type CharacterDevice',
    },
    {
      what: "an entry that ends early",
      tar: rawTar([{ name: "short", size: 9000 }]).subarray(0, 1024),
      says: "is not a sound tar archive",
    },
    {
      what: "a compressed stream that is cut off",
      tar: gzipSync(rawTar([{ name: "random", content: randomBytes(300_000) }])).subarray(0, 200_000),
      says: "is not a sound archive",
    },
  ])("an archive with $what is refused by its name, at the instruction", async ({ tar, says }) => {
    await writeFile(join(context, "files.tar"), tar);
    const error = await refusal(build("FROM scratch\n\nADD files.tar /files/"));
    expect(error).toMatchObject({ code: "config", at: expect.stringMatching(/Dockerfile:3/) as string });
    expect(error.message).toContain(says);
    expect(error.message).toMatch(/^files\.tar\b/);
    expect(`${error.message} ${error.fix}`).not.toContain("docker save");
  });
});

describe("COPY", () => {
  test("a folder's content, files by pattern and single files go where docker puts them", async () => {
    await put({ "src/a.js": "a", "src/lib/b.js": "b", "one.txt": "1", "two.txt": "2" });
    const { image } = await build(
      "FROM scratch\nWORKDIR /app\nCOPY src ./\nCOPY *.txt /texts/\nCOPY one.txt renamed\nCOPY one.txt /texts",
    );
    const list = (path: string) => listDirectory(image.layers, path);
    expect(await list("app")).toEqual(["a.js", "lib", "renamed"]);
    expect(await list("texts")).toEqual(["one.txt", "two.txt"]);
    expect(await readText(image.layers, "app/lib/b.js")).toBe("b");
  });

  test("the umask of a clone does not show in the digest", async () => {
    await put({ "src/a.sh": "a" });
    const digests = [];
    for (const [folder, file] of [
      [0o755, 0o755],
      [0o775, 0o775],
    ] as const) {
      await chmod(join(context, "src"), folder);
      await chmod(join(context, "src/a.sh"), file);
      digests.push((await build("FROM scratch\nCOPY src /src/")).digest);
    }
    expect(digests[1]).toBe(digests[0]);
  });

  test("what .dockerignore leaves out is not there, and cannot be named", async () => {
    await put({
      ".dockerignore": "secret\n**/*.log\n!keep.log\n",
      secret: "s",
      "a/x.log": "",
      "keep.log": "k",
    });
    const { image } = await build("FROM scratch\nCOPY . /");
    expect(await listDirectory(image.layers, "")).toEqual([".dockerignore", "Dockerfile", "a", "keep.log"]);
    expect(await listDirectory(image.layers, "a")).toEqual([]);
    const error = await refusal(build("FROM scratch\nCOPY secret /"));
    expect(error.at).toBe(`${join(context, "Dockerfile")}:2:1`);
    expect(error.message).toContain('"secret" matches nothing');
  });

  test.each([
    ["COPY ../secret /", "outside the build context"],
    ["COPY a/../../secret /", "outside the build context"],
    ["COPY out /", "symbolic link out of the build context"],
    ["COPY folder/passwd /", "leads through the symbolic link"],
    ["COPY one two /file", "several files"],
    ["COPY --chmod=rwx one /", "octal"],
    ["COPY --from=nowhere one /", "is in no registry"],
    ["ADD https://example.com/x /", "cannot fetch"],
    ["COPY --parents one /", "not supported"],
  ])("%s is refused at its place", async (line, message) => {
    await put({ one: "1", two: "2" });
    await writeFile(join(dir, "secret"), "s");
    await symlink("../secret", join(context, "out"));
    await symlink("/etc", join(context, "folder"));
    const error = await refusal(build(`FROM scratch\n${line}`));
    expect(error.message).toContain(message);
    expect(error.at).toMatch(/Dockerfile:2:1$/);
  });

  test("a destination behind a link of the image is where the link points", async () => {
    await put({ tool: "t" });
    const layer = await store.addLayer([
      { path: "usr/bin", type: "directory", mode: 0o711 },
      { path: "bin", type: "symlink", target: "usr/bin" },
    ]);
    await store.addImage({ config: {}, layers: [layer], references: ["base:1"] });
    const { image } = await build("FROM base:1\nCOPY --chmod=755 tool /bin/");
    const found = await locate(image.layers, "bin/tool");
    expect(found?.path).toBe("usr/bin/tool");
    expect((found?.stats.mode ?? 0) & 0o777).toBe(0o755);
    expect(((await locate(image.layers, "usr/bin"))?.stats.mode ?? 0) & 0o777).toBe(0o711);
  });

  test("ADD unpacks a local archive, COPY does not", async () => {
    await writeFile(join(context, "a.tar"), rawTar([{ name: "in/side", content: "x" }]));
    const { image } = await build("FROM scratch\nADD a.tar /added/\nCOPY a.tar /copied/");
    expect(await readText(image.layers, "added/in/side")).toBe("x");
    expect(await listDirectory(image.layers, "copied")).toEqual(["a.tar"]);
  });

  test("a here-document becomes a file with its variables replaced", async () => {
    const { image } = await build(
      'FROM scratch\nENV A=one\nCOPY <<EOF /f\nsays "$A"\nEOF\nCOPY <<"X" /g\n$A\nX',
    );
    expect(await readText(image.layers, "f")).toBe('says "one"\n');
    expect(await readText(image.layers, "g")).toBe("$A\n");
  });
});

describe("settings", () => {
  test("the configuration is what the instructions say", async () => {
    const { image } = await build(
      [
        "ARG PORT=80",
        "FROM scratch",
        "ARG PORT",
        "ARG NAME=kws",
        'ENV A=1 B="two words"',
        "ENV C ${A}+${NONE:-none}",
        "LABEL name=$NAME",
        "WORKDIR /app",
        "WORKDIR sub",
        "USER 1000:1000",
        "EXPOSE $PORT 53/udp",
        'VOLUME ["/data"]',
        "STOPSIGNAL SIGINT",
        "HEALTHCHECK --interval=1m30s --retries=2 CMD curl localhost",
        'ENTRYPOINT ["node"]',
        "CMD serve $A",
      ].join("\n"),
      { buildArgs: { PORT: "8080" } },
    );
    expect(image.config).toEqual({
      Env: ["A=1", "B=two words", "C=1+none"],
      Labels: { name: "kws" },
      WorkingDir: "/app/sub",
      User: "1000:1000",
      ExposedPorts: { "8080/tcp": {}, "53/udp": {} },
      Volumes: { "/data": {} },
      StopSignal: "SIGINT",
      Healthcheck: { Test: ["CMD-SHELL", "curl localhost"], Interval: 90e9, Retries: 2 },
      Entrypoint: ["node"],
      Cmd: ["/bin/sh", "-c", "serve $A"],
    });
  });

  test("an ENTRYPOINT clears the command of the base image, not the stage's own", async () => {
    const base = await build('FROM scratch\nCMD ["base"]', { tags: ["base:1"] });
    expect(base.image.config.Cmd).toEqual(["base"]);
    expect((await build('FROM base:1\nENTRYPOINT ["e"]')).image.config.Cmd).toBeUndefined();
    expect((await build('FROM base:1\nCMD ["c"]\nENTRYPOINT ["e"]')).image.config.Cmd).toEqual(["c"]);
  });
});

describe("stages", () => {
  test("only the stages that the target needs are built", async () => {
    await put({ one: "1" });
    const text = [
      "FROM scratch AS base",
      "COPY one /one",
      "FROM missing:1 AS unused",
      "FROM base AS last",
      "COPY --from=base /one /two",
      "FROM base",
      "COPY --from=0 /one /three",
    ].join("\n");
    const { image } = await build(text);
    expect(await listDirectory(image.layers, "")).toEqual(["one", "three"]);
    const last = await build(text, { target: "last" });
    expect(await listDirectory(last.image.layers, "")).toEqual(["one", "two"]);
    const error = await refusal(build(text, { target: "nope" }));
    expect(error.fix).toBe("use one of: base, unused, last");
  });

  test("a base image that no registry has is said to be so, with what to use", async () => {
    const error = await refusal(build("FROM node:24-slim"));
    expect(error.code).toBe("config");
    expect(error.message).toContain("node:24-slim is in no registry");
    expect(error.fix).toContain(`kws.local/node:${node.version.split(".")[0]}`);
    expect(error.at).toMatch(/Dockerfile:1:1$/);
  });
});

describe("the cache", () => {
  test("an unchanged build does nothing, and times alone change nothing", async () => {
    await put({ one: "1" });
    const text = "FROM scratch\nCOPY one /one\nRUN made";
    const first = await build(text, { sandbox: writes });
    expect(first.cached).toBe(false);
    await utimes(join(context, "one"), 1, 1);
    const second = await build(text, { sandbox: () => Promise.reject(new Error("ran again")) });
    expect(second.cached).toBe(true);
    expect(second.digest).toBe(first.digest);
  });

  test("a changed file, argument or environment runs the steps that depend on it", async () => {
    await put({ one: "1" });
    const text = "FROM scratch\nARG V=1\nCOPY one /one\nRUN made";
    await build(text, { sandbox: writes });
    const changed = await build(text, { sandbox: writes, buildArgs: { V: "2" } });
    expect(changed.steps.map((step) => step.cached)).toEqual([true, true, false]);
    expect(await readText(changed.image.layers, "made")).toContain('"V":"2"');
    await put({ one: "2" });
    const again = await build(text, { sandbox: writes });
    expect(again.steps.map((step) => step.cached)).toEqual([true, false, false]);
  });

  test("another store builds the same digest", async () => {
    await put({ "a/one": "1", two: "2" });
    const text = "FROM scratch\nWORKDIR /app\nCOPY . .";
    const first = await build(text);
    store = await openImageStore(join(dir, "other"));
    expect((await build(text)).digest).toBe(first.digest);
  });

  test("the fingerprint follows content and not what is ignored", async () => {
    await put({ ".dockerignore": "skip", one: "1", skip: "s", Dockerfile: "FROM scratch" });
    const options = { context, dockerfile: join(context, "Dockerfile") };
    const before = await fingerprint(store, options);
    await put({ skip: "other" });
    expect(await fingerprint(store, options)).toBe(before);
    await put({ one: "2" });
    expect(await fingerprint(store, options)).not.toBe(before);
  });
});

describe("a check", () => {
  async function check(dockerfile: string, more: Partial<CheckOptions> = {}) {
    await put({
      Dockerfile: dockerfile,
      ".dockerignore": "secret\n",
      one: "1",
      "src/a.js": "a",
      secret: "s",
    });
    await checkDockerfile({ context, store, puller, node, ...more });
  }

  test.each([
    ["FROM scratch\nCPOY one /", 2, "unknown instruction CPOY"],
    ["FROM scratch\nCOPY absent /", 2, '"absent" matches nothing'],
    ["FROM scratch\nCOPY secret /", 2, '"secret" matches nothing'],
    ["FROM scratch\nCOPY *.ts src/*.ts /", 2, '"*.ts" matches nothing'],
    ["FROM scratch\nCOPY one src /file", 2, "several files"],
    ["FROM scratch\nENV F=absent\nCOPY ${F} /", 3, '"absent" matches nothing'],
    ["FROM scratch\nCOPY --from=builder one /", 2, "builder is in no registry"],
    ["FROM scratch AS a\nCOPY absent /\nFROM scratch\nCOPY --from=a /x /", 2, '"absent" matches nothing'],
    ["FROM absent:1", 1, "absent:1 is in no registry"],
    ["FROM kws.local/node:1", 1, "cannot be assembled"],
    ["FROM scratch\nRUN --mount=type=secret,id=x true", 2, "not supported"],
    ["FROM scratch\nEXPOSE http", 2, "not a port"],
    ['FROM scratch\nENV A="b', 2, "quote is not closed"],
  ])("finds what is wrong with %j", async (dockerfile, line, message) => {
    const error = await refusal(check(dockerfile));
    expect(error.code).toBe("config");
    expect(error.message).toContain(message);
    expect(error.at).toBe(`${join(context, "Dockerfile")}:${line}:1`);
  });

  test("passes what can be built, and makes and runs nothing", async () => {
    const major = node.version.split(".")[0];
    await check(
      [
        `FROM kws.local/node:${major} AS base`,
        "WORKDIR /app",
        "RUN exit 1",
        "FROM base AS made",
        "COPY one src/*.js ${NODE_VERSION:+src} /there/",
        "FROM absent:1 AS unused",
        "FROM base",
        "COPY --from=made /there/by/run /",
      ].join("\n"),
    );
    expect(await store.list()).toEqual([]);
    expect(await readdir(join(store.dir, "blobs/sha256"))).toEqual([]);
  });

  test("does not judge files that are still to come, nor a base that another build makes", async () => {
    const prepared = check("FROM scratch\nCOPY node_modules /", { incomplete: true });
    await expect(prepared).resolves.toBeUndefined();
    const onAnother = check("FROM kws.local/shop/base:dev\nCOPY ${MAIN} /");
    await expect(onAnother).resolves.toBeUndefined();
  });
});

test("a RUN that fails names its place and shows its last lines, and leaves nothing behind", async () => {
  const sandbox: RunInSandbox = ({ onOutput }) => {
    onOutput(Buffer.from(Array.from({ length: 50 }, (_, at) => `line ${at}\n`).join("")));
    return Promise.resolve(3);
  };
  const error = await refusal(build("FROM scratch\nRUN make it", { sandbox }));
  expect(error.code).toBe("failed");
  expect(error.at).toMatch(/Dockerfile:2:1$/);
  expect(error.message).toContain("RUN make it ended with exit code 3");
  expect(error.message).toContain("line 49");
  expect(error.message).not.toContain("line 20\n");
  expect(await store.find("demo:1")).toBeUndefined();
});
