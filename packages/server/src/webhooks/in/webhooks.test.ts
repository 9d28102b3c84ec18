import { expect, test } from "vitest";
import { inScope } from "./webhooks.ts";

const one = "https://git.example.com/acme/shop";
const all = "https://git.example.com/acme/*";

test.each([
  [one, "https://git.example.com/acme/shop.git"],
  [one, "https://mira@GIT.example.com/acme/shop/"],
  [one, "git@git.example.com:acme/shop.git"],
  [all, "https://git.example.com/acme/shop.git"],
  [all, "https://git.example.com/acme/group/shop.git"],
  ["/srv/git/*", "/srv/git/shop.git"],
])("%s is for %s", (scope, url) => {
  expect(inScope(scope, url)).toBe(true);
});

test.each([
  [one, "https://git.example.com/acme/shop-2.git"],
  [one, "https://other.example.com/acme/shop.git"],
  [all, "https://git.example.com/acme"],
  [all, "https://git.example.com/acme-2/shop.git"],
  [all, "https://git.example.com/acme/../lou/shop.git"],
  [all, "https://git.example.com/acme/./../lou/shop.git"],
  [all, "https://git.example.com/acme/%2e%2e/lou/shop.git"],
  [all, "https://git.example.com/acme//shop.git"],
  [all, "acme/shop"],
  ["/srv/git/*", "/srv/git/../secret.git"],
])("%s is not for %s", (scope, url) => {
  expect(inScope(scope, url)).toBe(false);
});
