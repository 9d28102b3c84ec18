/** Git repositories that the server knows: what services they hold, and from when that is. */
import { type Static, Type } from "typebox";
import { Page, pageQuery } from "./page.ts";
import { defineRoute } from "./route.ts";

const Name = Type.String({
  pattern: "^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$",
  description: "Lower case letters, digits and hyphens.",
});

export const RepositoryService = Type.Object({
  name: Type.String(),
  path: Type.String({ description: "Its folder in the repository; `.` for the root." }),
});
export type RepositoryService = Static<typeof RepositoryService>;

export const Repository = Type.Object({
  id: Type.String(),
  name: Name,
  url: Type.String(),
  branch: Type.String({ description: "Whose kws.yaml says which services there are." }),
  team: Type.String(),
  state: Type.Union([Type.Literal("syncing"), Type.Literal("synced"), Type.Literal("failed")]),
  commit: Type.Optional(Type.String({ description: "The branch's, when it was last synced." })),
  services: Type.Array(RepositoryService),
  problem: Type.Optional(Type.String({ description: "Why the last sync failed." })),
  createdAt: Type.String(),
  syncedAt: Type.Optional(Type.String()),
});
export type Repository = Static<typeof Repository>;

export const NewRepository = Type.Object(
  {
    name: Name,
    url: Type.String({ minLength: 1, maxLength: 2000, description: "Where to clone from." }),
    branch: Type.Optional(Type.String({ minLength: 1, maxLength: 250, description: "`main` unless given." })),
    team: Type.Optional(
      Type.String({ minLength: 1, maxLength: 100, description: "`default` unless given." }),
    ),
  },
  { additionalProperties: false },
);
export type NewRepository = Static<typeof NewRepository>;

const one = Type.Object({ name: Name });

export const listRepositories = defineRoute({
  method: "GET",
  path: "/api/v1/repositories",
  query: Type.Object({ ...pageQuery, team: Type.Optional(Type.String()) }),
  response: Page(Repository),
  permission: "repositories.read",
  summary: "The repositories, by name",
});

export const getRepository = defineRoute({
  method: "GET",
  path: "/api/v1/repositories/:name",
  params: one,
  response: Repository,
  permission: "repositories.read",
  summary: "One repository",
});

export const addRepository = defineRoute({
  method: "POST",
  path: "/api/v1/repositories",
  body: NewRepository,
  response: Repository,
  status: 201,
  permission: "repositories.write",
  summary: "Register a repository, and begin to sync it",
});

export const syncRepository = defineRoute({
  method: "POST",
  path: "/api/v1/repositories/:name/sync",
  params: one,
  response: Repository,
  status: 202,
  permission: "repositories.write",
  summary: "Fetch a repository, and read anew which services it holds",
});

export const removeRepository = defineRoute({
  method: "DELETE",
  path: "/api/v1/repositories/:name",
  params: one,
  response: Repository,
  permission: "repositories.write",
  summary: "Forget a repository, and delete the server's copy of it",
});
