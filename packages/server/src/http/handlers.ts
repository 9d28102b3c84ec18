/** Pairs of a route and what answers it. One file per noun exports a list of them. */
import type { Route, RouteInput, RouteOutput } from "@kws/api/route";
import type { Actor } from "../access/actor.ts";
import type { Resource } from "../access/grants.ts";
import type { ServerContext } from "../context.ts";

export interface Request<R extends Route> extends RouteInput<R> {
  actor: Actor;
  requestId: string;
  /** Of `Last-Event-ID`. */
  after: string | undefined;
  /** Aborts when the caller hangs up, or the server ends. */
  signal: AbortSignal;
  /** For routes with `scoped`: throws `permission` where the caller may not do this to it. */
  authorise: (resource: Resource) => void;
}

/** What streams give: an item with the id to go on after; `undefined` keeps the connection alive. */
export type Stream<Item> = AsyncGenerator<{ id: string; item: Item } | undefined>;

export interface Endpoint {
  route: Route;
  handle: (request: Request<Route>, ctx: ServerContext) => Promise<unknown> | Stream<unknown>;
}

/** `endpoint(getRepository, async ({ params }, { db }) => …)` */
export function endpoint<R extends Route>(
  route: R,
  handle: (request: Request<R>, ctx: ServerContext) => Promise<RouteOutput<R>>,
): Endpoint {
  return { route, handle };
}

/** For routes with `stream`. */
export function streaming<R extends Route & { stream?: true }>(
  route: R,
  handle: (request: Request<R>, ctx: ServerContext) => Stream<RouteOutput<R>>,
): Endpoint {
  return { route, handle };
}
