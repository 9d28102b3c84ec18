/** What a caller may be allowed to do. `noun.verb`; every route names one, and roles are sets of them. */
import { type Static, Type } from "typebox";

export const Permission = Type.Union(
  [
    // No token is asked for.
    Type.Literal("public"),
    // Any caller that is known.
    Type.Literal("self"),
    Type.Literal("events.read"),
    Type.Literal("repositories.read"),
    Type.Literal("repositories.write"),
  ],
  { description: "What a caller needs for a route." },
);
export type Permission = Static<typeof Permission>;
