/** Notifications: the channels that people and programs are told through, and what became of each message. */
import { type Static, Type } from "typebox";
import { Page, pageQuery } from "./page.ts";
import { defineRoute } from "./route.ts";
import { forgeNames, WebhookName as Name } from "./webhooks.ts";

const Url = Type.String({ minLength: 1, maxLength: 2000 });
const toSlack = Type.Object({ kind: Type.Literal("slack"), url: Url }, { additionalProperties: false });
const toEmail = Type.Object(
  {
    kind: Type.Literal("email"),
    to: Type.Array(Type.String({ maxLength: 320 }), { minItems: 1, maxItems: 50 }),
  },
  { additionalProperties: false },
);
const signed = {
  kind: Type.Literal("webhook"),
  url: Url,
};
const toStatus = Type.Object(
  {
    kind: Type.Literal("status"),
    forge: Type.Enum(forgeNames.filter((name) => name !== "git")),
    scope: Type.String({
      minLength: 1,
      maxLength: 2000,
      description:
        "The repositories whose commits get a status: the address of one, or of all below it with `/*`.",
    }),
    api: Type.String({
      minLength: 1,
      maxLength: 2000,
      description: "The forge's API, such as https://git.example.com/api/v1.",
    }),
    token: Type.String({ minLength: 1, maxLength: 4000 }),
  },
  { additionalProperties: false },
);

/** Where a channel leads. */
export const Target = Type.Union([
  toSlack,
  Type.Object({ ...signed, secret: Type.String() }, { additionalProperties: false }),
  toEmail,
  toStatus,
]);
export type Target = Static<typeof Target>;

/** As it is given: a key to sign with is made unless given. */
export const NewTarget = Type.Union([
  toSlack,
  Type.Object({ ...signed, secret: Type.Optional(Type.String()) }, { additionalProperties: false }),
  toEmail,
  toStatus,
]);
export type NewTarget = Static<typeof NewTarget>;

export const Channel = Type.Object({
  id: Type.String(),
  name: Name,
  kind: Type.Enum(["slack", "webhook", "email", "status"]),
  to: Type.String({ description: "The host of its address, or the receivers." }),
  types: Type.Array(Type.String()),
  template: Type.String(),
  createdAt: Type.String(),
});
export type Channel = Static<typeof Channel>;

export const ChannelWithSecret = Type.Object({
  ...Channel.properties,
  secret: Type.Optional(
    Type.String({ description: "What a generic webhook's messages are signed with; in this answer alone." }),
  ),
});

export const NewChannel = Type.Object(
  {
    name: Name,
    target: NewTarget,
    types: Type.Optional(
      Type.Array(Type.String({ pattern: "^([a-z-]+|\\*)(\\.([a-z-]+|\\*))*$", maxLength: 200 }), {
        minItems: 1,
        maxItems: 50,
        description: "Types of messages, such as `run.failed`; `run.*` unless given.",
      }),
    ),
    template: Type.Optional(Type.String({ minLength: 1, maxLength: 2000 })),
  },
  { additionalProperties: false },
);
export type NewChannel = Static<typeof NewChannel>;

export const notificationStates = ["waiting", "sent", "failed"] as const;
export type NotificationState = (typeof notificationStates)[number];

/** One message in one channel. */
export const SentNotification = Type.Object({
  id: Type.String({ description: "The same in every channel, and at every attempt." }),
  channel: Type.String(),
  type: Type.String(),
  state: Type.Enum([...notificationStates]),
  attempts: Type.Integer(),
  reason: Type.Optional(Type.String({ description: "Why the last attempt failed." })),
  createdAt: Type.String(),
  endedAt: Type.Optional(Type.String()),
});
export type SentNotification = Static<typeof SentNotification>;

export const TestResult = Type.Object({
  channel: Type.String(),
  result: Type.Enum(["sent", "retry", "failed"], {
    description: "`retry` where it may work later; a test is not tried again.",
  }),
  reason: Type.Optional(Type.String()),
});
export type TestResult = Static<typeof TestResult>;

const one = Type.Object({ name: Name });

export const listChannels = defineRoute({
  method: "GET",
  path: "/api/v1/channels",
  query: Type.Object({ ...pageQuery }),
  response: Page(Channel),
  permission: "notifications.read",
  summary: "The channels of notifications, by name",
});

export const addChannel = defineRoute({
  method: "POST",
  path: "/api/v1/channels",
  body: NewChannel,
  response: ChannelWithSecret,
  status: 201,
  permission: "notifications.write",
  summary: "Add a channel; its address and secrets are shown in no later answer",
});

export const removeChannel = defineRoute({
  method: "DELETE",
  path: "/api/v1/channels/:name",
  params: one,
  response: Channel,
  permission: "notifications.write",
  summary: "Remove a channel; messages that wait for it are not sent",
});

export const testChannel = defineRoute({
  method: "POST",
  path: "/api/v1/channels/:name/test",
  params: one,
  response: TestResult,
  permission: "notifications.write",
  summary: "Send one message through a channel now, and tell what became of it",
});

export const listNotifications = defineRoute({
  method: "GET",
  path: "/api/v1/notifications",
  query: Type.Object({
    ...pageQuery,
    channel: Type.Optional(Type.String({ description: "Only what went into this one, by its name." })),
    state: Type.Optional(Type.Enum([...notificationStates])),
  }),
  response: Page(SentNotification),
  permission: "notifications.read",
  summary: "What was sent, or is to be, the newest first",
});
