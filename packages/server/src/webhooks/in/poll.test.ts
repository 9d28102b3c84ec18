import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { run } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { expect, onTestFinished, test } from "vitest";
import { changes, listRefs } from "./poll.ts";

const env = {
  ...process.env,
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "mira",
  GIT_AUTHOR_EMAIL: "mira@example.com",
  GIT_COMMITTER_NAME: "mira",
  GIT_COMMITTER_EMAIL: "mira@example.com",
};
const options = { env, timeoutMs: 60_000 };

test("what moved in a real repository between two looks is told as a forge would", async () => {
  await using dir = await tempDir("poll");
  const git = async (...args: string[]) =>
    (await run("git", ["-C", dir.path, ...args], { env })).stdout.trim();
  await git("init", "--quiet", "--initial-branch=main");
  await git("commit", "--quiet", "--allow-empty", "-m", "one");
  await git("branch", "old");
  const first = await git("rev-parse", "HEAD");
  const before = await listRefs(dir.path, options);
  expect(before).toEqual({ "refs/heads/main": first, "refs/heads/old": first });

  await git("commit", "--quiet", "--allow-empty", "-m", "two");
  await git("tag", "-a", "v1", "-m", "one");
  await git("branch", "--quiet", "-D", "old");
  await git("update-ref", "refs/notes/commits", "HEAD");
  const second = await git("rev-parse", "HEAD");
  const repository = { name: "acme/shop", url: dir.path };
  expect(changes(repository, before, await listRefs(dir.path, options))).toEqual([
    { type: "push", repository, author: "git", branch: "main", before: first, commit: second },
    { type: "push", repository, author: "git", branch: "old", before: first },
    { type: "tag", repository, author: "git", tag: "v1", commit: second },
  ]);
});

test("credentials reach the host as a header, and no error tells them", async () => {
  const sent: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    sent.push(request.headers.authorization);
    response.writeHead(404).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/shop.git`;
  const credentials = { user: "kws", password: "hunter2" };
  const failed = await listRefs(url, { ...options, credentials }).catch(String);
  expect(failed).toContain("cannot list the branches");
  expect(failed).not.toContain("hunter2");
  expect(sent).toContain(`Basic ${Buffer.from("kws:hunter2").toString("base64")}`);

  const inAddress = await listRefs(url.replace("//", "//kws:hunter2@"), options).catch(String);
  expect(inAddress).toContain("cannot list the branches");
  expect(inAddress).not.toContain("hunter2");
});

test.each(["ext::sh -c id", "--upload-pack=id", "https://example.com/\nx"])(
  "%j is not asked",
  async (url) => {
    await expect(listRefs(url, options)).rejects.toThrow("is not an address");
  },
);

test("a folder that is no repository is the user's fault", async () => {
  await using dir = await tempDir("poll");
  await expect(listRefs(join(dir.path, "none"), options)).rejects.toThrow("cannot list the branches");
});
