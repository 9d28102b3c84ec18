/** Who the caller is, as the server sees it. */
import { type Static, Type } from "typebox";
import { defineRoute } from "./route.ts";

export const Me = Type.Object({
  name: Type.String({ description: "As the audit log names the caller." }),
  kind: Type.Union([Type.Literal("local"), Type.Literal("person"), Type.Literal("service")]),
});
export type Me = Static<typeof Me>;

export const getMe = defineRoute({
  method: "GET",
  path: "/api/v1/me",
  response: Me,
  permission: "self",
  summary: "Who the caller is",
});
