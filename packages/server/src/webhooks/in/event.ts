/** What happened in a repository, in the same words whichever forge it was that said so. */
import { Type, type Static } from "typebox";

export const Repository = Type.Object({
  /** As the forge spells it, such as `acme/shop`. */
  name: Type.String(),
  /** Where it is cloned from. */
  url: Type.String(),
});
export type Repository = Static<typeof Repository>;

/** What every event says. */
const happened = {
  repository: Repository,
  /** Who did it, as the forge calls them. */
  author: Type.String(),
};

/** A ref's move: from nothing when it was made, to nothing when it was deleted. */
const moved = {
  before: Type.Optional(Type.String()),
  commit: Type.Optional(Type.String()),
};

export const PushEvent = Type.Object({
  type: Type.Literal("push"),
  ...happened,
  ...moved,
  branch: Type.String(),
  /**
   * Every path that differs between `before` and `commit`. Only GitHub says enough to know them: the others name those of the new
   * commits, and not whether old ones were dropped. Where it is missing, `git diff` has to tell.
   */
  paths: Type.Optional(Type.Array(Type.String())),
});
export type PushEvent = Static<typeof PushEvent>;

export const TagEvent = Type.Object({ type: Type.Literal("tag"), ...happened, ...moved, tag: Type.String() });
export type TagEvent = Static<typeof TagEvent>;

export const PullRequestEvent = Type.Object({
  type: Type.Literal("pull-request"),
  ...happened,
  action: Type.Union([Type.Literal("opened"), Type.Literal("updated"), Type.Literal("closed")]),
  number: Type.Integer(),
  /** Where it comes from. */
  branch: Type.String(),
  commit: Type.String(),
  /** The commit that it had before it was updated, where the forge tells. */
  before: Type.Optional(Type.String()),
  /** The branch that it wants to go into. */
  target: Type.String(),
  /** From another repository, whose owner may be anybody: it gets no secrets, and runs once somebody has approved it. */
  fork: Type.Boolean(),
});
export type PullRequestEvent = Static<typeof PullRequestEvent>;

export const ForgeEvent = Type.Union([PushEvent, TagEvent, PullRequestEvent]);
export type ForgeEvent = Static<typeof ForgeEvent>;

export interface RefMove {
  repository: Repository;
  author: string;
  /** Such as `refs/heads/main`. */
  ref: string;
  before: string | null | undefined;
  after: string | null | undefined;
}

/** The event of a ref that moved; none for refs that are neither branch nor tag, such as notes. */
export function refEvent({
  repository,
  author,
  ref,
  before,
  after,
}: RefMove): PushEvent | TagEvent | undefined {
  const move = { repository, author, ...at("before", before), ...at("commit", after) };
  const [, kind, name] = /^refs\/(heads|tags)\/(.+)$/s.exec(ref) ?? [];
  if (name === undefined) return undefined;
  return kind === "heads" ? { type: "push", ...move, branch: name } : { type: "tag", ...move, tag: name };
}

/** Git writes zeros for a ref that is not there. */
function at<K extends string>(key: K, sha: string | null | undefined): { [key in K]?: string } {
  const exists = sha !== null && sha !== undefined && !/^0*$/.test(sha);
  return exists ? ({ [key]: sha } as { [key in K]?: string }) : {};
}
