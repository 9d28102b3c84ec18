import { describe, expect, test } from "vitest";
import type { CommitStatus } from "./status.ts";
import { statuses } from "./statuses.ts";

const commit = "b2".repeat(20);
const status: CommitStatus = {
  repository: "acme/shop",
  commit,
  outcome: "failed",
  context: "kws/cart",
  description: "test failed",
  url: "https://kws.example.com/runs/1",
};
const access = { api: "https://git.example.com/api/", token: "t0ken" };

test.each([
  [
    "github",
    `repos/acme/shop/statuses/${commit}`,
    { state: "failure", context: "kws/cart", target_url: status.url },
  ],
  [
    "gitea",
    `repos/acme/shop/statuses/${commit}`,
    { state: "failure", context: "kws/cart", target_url: status.url },
  ],
  [
    "gitlab",
    `projects/acme%2Fshop/statuses/${commit}`,
    { state: "failed", name: "kws/cart", target_url: status.url },
  ],
  [
    "bitbucket",
    `repositories/acme/shop/commit/${commit}/statuses/build`,
    { state: "FAILED", key: "kws/cart", name: "kws/cart", url: status.url },
  ],
  [
    "bitbucket-server",
    `rest/build-status/1.0/commits/${commit}`,
    { state: "FAILED", key: "kws/cart", name: "kws/cart", url: status.url },
  ],
] as const)("%s is told in its own words, with the token in a header alone", (forge, path, body) => {
  const request = statuses[forge](status, access);
  expect(request.url).toBe(`https://git.example.com/api/${path}`);
  expect(JSON.parse(request.body)).toEqual({ ...body, description: "test failed" });
  expect(Object.values(request.headers).filter((value) => value.includes("t0ken"))).toHaveLength(1);
  expect(request.url + request.body).not.toContain("t0ken");
});

describe.each(["github", "gitea", "gitlab", "bitbucket"] as const)("%s", (forge) => {
  test("a repository's name leads to no other place of the API", () => {
    for (const repository of ["../admin", "acme/..", "acme/shop?x=1#", "a%2F../b"]) {
      const { url } = statuses[forge]({ ...status, repository }, access);
      const { pathname, search, hash } = new URL(url);
      expect(pathname, repository).toMatch(/^\/api\/(repos|repositories|projects)\//);
      expect([search, hash].join(""), repository).toBe("");
      expect(pathname).toContain(commit);
    }
  });

  test("a long description is cut", () => {
    const { body } = statuses[forge]({ ...status, description: "d".repeat(1000) }, access);
    expect((JSON.parse(body) as { description: string }).description.length).toBeLessThanOrEqual(255);
  });
});

test("Bitbucket's keys of long names stay different", () => {
  const key = (context: string) =>
    (JSON.parse(statuses.bitbucket({ ...status, context }, access).body) as { key: string }).key;
  const [one, other] = [key(`kws/${"a".repeat(50)}`), key(`kws/${"a".repeat(50)}b`)];
  expect(one).toHaveLength(40);
  expect(other).not.toBe(one);
});
