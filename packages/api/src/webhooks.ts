/** Webhooks: where forges and plain git repositories tell the server what happened in them. */
import { type Static, Type } from "typebox";
import { Page, pageQuery } from "./page.ts";
import { defineRoute } from "./route.ts";

export const forgeNames = ["github", "gitlab", "bitbucket", "bitbucket-server", "gitea", "git"] as const;
export type ForgeName = (typeof forgeNames)[number];

export const WebhookName = Type.String({
  pattern: "^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$",
  description: "Lower case letters, digits and hyphens.",
});

export const Webhook = Type.Object({
  id: Type.String(),
  name: WebhookName,
  forge: Type.Enum([...forgeNames]),
  scope: Type.String({ description: "The repositories that it may speak of." }),
  path: Type.String({ description: "Where it is sent to, below the server's address." }),
  createdAt: Type.String(),
  lastDeliveryAt: Type.Optional(Type.String()),
});
export type Webhook = Static<typeof Webhook>;

/** Its secret is told once, to whoever made it. */
export const WebhookWithSecret = Type.Object({ ...Webhook.properties, secret: Type.String() });
export type WebhookWithSecret = Static<typeof WebhookWithSecret>;

const secret = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: 1000,
    description: "One that the forge has made; made here unless given.",
  }),
);

export const NewWebhook = Type.Object(
  {
    name: WebhookName,
    forge: Type.Enum([...forgeNames]),
    scope: Type.String({
      minLength: 1,
      maxLength: 2000,
      description: "The address of one repository, or of all below it with `/*` at its end.",
    }),
    secret,
  },
  { additionalProperties: false },
);
export type NewWebhook = Static<typeof NewWebhook>;

export const WebhookDelivery = Type.Object({
  key: Type.String({ description: "What is the same when it is sent again." }),
  receivedAt: Type.String(),
  events: Type.Array(Type.String(), { description: "Such as `push main`; none where nothing runs for it." }),
  handledAt: Type.Optional(Type.String({ description: "When all was begun that it leads to." })),
  problem: Type.Optional(Type.String({ description: "Why some of it could not be begun." })),
});
export type WebhookDelivery = Static<typeof WebhookDelivery>;

const one = Type.Object({ name: WebhookName });

export const listWebhooks = defineRoute({
  method: "GET",
  path: "/api/v1/webhooks",
  query: Type.Object({ ...pageQuery }),
  response: Page(Webhook),
  permission: "webhooks.read",
  summary: "The webhooks, by name",
});

export const addWebhook = defineRoute({
  method: "POST",
  path: "/api/v1/webhooks",
  body: NewWebhook,
  response: WebhookWithSecret,
  status: 201,
  permission: "webhooks.write",
  summary: "Make a webhook; its secret is in this answer alone",
});

export const rotateWebhook = defineRoute({
  method: "POST",
  path: "/api/v1/webhooks/:name/rotate",
  params: one,
  body: Type.Object({ secret }, { additionalProperties: false }),
  response: WebhookWithSecret,
  permission: "webhooks.write",
  summary: "Give a webhook another secret, beside the one that it had",
});

export const removeWebhook = defineRoute({
  method: "DELETE",
  path: "/api/v1/webhooks/:name",
  params: one,
  response: Webhook,
  permission: "webhooks.write",
  summary: "Remove a webhook; what is sent to it is refused from then on",
});

export const listWebhookDeliveries = defineRoute({
  method: "GET",
  path: "/api/v1/webhooks/:name/deliveries",
  params: one,
  query: Type.Object({ ...pageQuery }),
  response: Page(WebhookDelivery),
  permission: "webhooks.read",
  summary: "What was sent to a webhook, the newest first",
});
