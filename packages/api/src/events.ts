/** What happens on the server, as it happens: server-sent events that can be taken up again after the last one seen. */
import { type Static, Type } from "typebox";
import { defineRoute } from "./route.ts";

export const Event = Type.Object({
  id: Type.String({ description: "Grows; a stream taken up with it as Last-Event-ID goes on after it." }),
  at: Type.String({ description: "RFC 3339." }),
  kind: Type.String({ description: "`noun.happened`, such as `repository.synced`." }),
  subject: Type.String({ description: "The id of what it happened to." }),
  data: Type.Record(Type.String(), Type.Unknown()),
});
export type Event = Static<typeof Event>;

export const streamEvents = defineRoute({
  method: "GET",
  path: "/api/v1/events",
  query: Type.Object({
    kind: Type.Optional(Type.String({ description: "Only events whose kind begins with it." })),
    subject: Type.Optional(Type.String({ description: "Only events of this one." })),
  }),
  response: Event,
  stream: true,
  permission: "events.read",
  summary: "Live events; those after the header Last-Event-ID first, or only new ones without it",
});
