/** What people and programs are told: one message, before a channel gives it its own form. */
import { type Static, Type } from "typebox";

export const Notification = Type.Object({
  /** The same for every channel and attempt: a receiver knows what it has seen. */
  id: Type.String(),
  /** What happened, such as `run.failed`: noun and past participle. */
  type: Type.String(),
  /** When, in RFC 3339. */
  time: Type.String(),
  /** How it ended; colours and icons follow it. */
  outcome: Type.Union([
    Type.Literal("running"),
    Type.Literal("succeeded"),
    Type.Literal("failed"),
    Type.Literal("canceled"),
  ]),
  /** What templates can name, such as service, branch and commit. */
  values: Type.Record(Type.String(), Type.String()),
  /** Where the repository is cloned from, for statuses of its commits. */
  repositoryUrl: Type.Optional(Type.String()),
  /** A page that says more. */
  url: Type.Optional(Type.String()),
});
export type Notification = Static<typeof Notification>;
