/** What the post-receive hook of a plain git repository sends: our own words, signed as Standard Webhooks says. */
import { type Static, Type } from "typebox";
import { verifySigned } from "../standard-webhooks.ts";
import { refEvent } from "./event.ts";
import type { Forge } from "./forge.ts";
import { Name, payload, Sha, Url } from "./payload.ts";

export const GitPush = Type.Object({
  repository: Type.Object({ name: Name, url: Url }),
  author: Name,
  /** As git hands them to the hook: zeros before a ref was made, and after it was deleted. */
  refs: Type.Array(Type.Object({ ref: Name, before: Sha, after: Sha }), { maxItems: 10_000 }),
});
export type GitPush = Static<typeof GitPush>;

export const git: Forge = {
  verify: verifySigned,

  parse(body) {
    const { repository, author, refs } = payload(GitPush, body);
    return refs
      .map((move) => refEvent({ repository, author, ...move }))
      .filter((event) => event !== undefined);
  },
};
