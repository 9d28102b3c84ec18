/** Repositories that the server asks for new commits, where nobody tells it of them. */
import { type Static, Type } from "typebox";
import { defineRoute } from "./route.ts";

export const Poll = Type.Object({
  repository: Type.String(),
  everySeconds: Type.Optional(Type.Integer({ description: "Absent where it is not asked." })),
});
export type Poll = Static<typeof Poll>;

export const setPoll = defineRoute({
  method: "PUT",
  path: "/api/v1/repositories/:name/poll",
  params: Type.Object({ name: Type.String() }),
  body: Type.Object(
    {
      everySeconds: Type.Optional(
        Type.Integer({
          minimum: 10,
          maximum: 86_400,
          description: "It is no longer asked unless given.",
        }),
      ),
    },
    { additionalProperties: false },
  ),
  response: Poll,
  permission: "repositories.write",
  summary: "Ask a repository for new commits at an interval, or no longer",
});
