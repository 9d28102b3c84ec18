/**
 * Routes as data. The server registers a handler for each, checks what comes in against its schemas and asks for its permission;
 * the client calls it by the same definition; OpenAPI is made from it.
 */
import type { Static, TObject, TSchema } from "typebox";
import type { Permission } from "./access.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface Route<
  Params extends TObject = TObject,
  Query extends TObject = TObject,
  Body extends TSchema = TSchema,
  Response extends TSchema = TSchema,
> {
  method: Method;
  /** `/api/v1/…`, parameters as `:name`. */
  path: string;
  params?: Params;
  query?: Query;
  body?: Body;
  response: Response;
  /** Of a success; 200 unless given. */
  status?: 200 | 201 | 202 | 204;
  /** `public` asks for no token, `self` for one of anybody. */
  permission: Permission | "public" | "self";
  /**
   * What it is about belongs to a service, an environment or a tenant: a role for some of these may be enough, and the handler
   * asks for the permission again with what it is. Without it, the role has to be one for everything.
   */
  scoped?: true;
  /** For OpenAPI: a sentence without its full stop. */
  summary: string;
  /** The answer is a stream of server-sent events, of which `response` is the data of each. */
  stream?: true;
  /** Bytes of the body that are taken; the server's own limit unless given. */
  bodyLimit?: number;
}

type Part<Schema extends TSchema> = TSchema extends Schema ? unknown : Static<Schema>;

/** What a route takes, by its parts; those that it does not have are unknown. */
export interface RouteInput<R extends Route> {
  params: R extends Route<infer Params> ? Part<Params> : never;
  query: R extends Route<TObject, infer Query> ? Part<Query> : never;
  body: R extends Route<TObject, TObject, infer Body> ? Part<Body> : never;
}

export type RouteOutput<R extends Route> = Static<R["response"]>;

export function defineRoute<
  const Params extends TObject,
  const Query extends TObject,
  const Body extends TSchema,
  const Response extends TSchema,
>(route: Route<Params, Query, Body, Response>): Route<Params, Query, Body, Response> {
  return route;
}
