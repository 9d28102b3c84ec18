/** The verbs `get` and `list`, with pages and the meanings of `resourceVersion`. */
import { apiError } from "@kws/kube/status";
import { StorageError, type Stored } from "../storage/stored.ts";
import type { ServerContext } from "./context.ts";
import { ensureForms } from "./conversion.ts";
import { badRequest, expired, notFound } from "./failures.ts";
import { storageKey, tableOf } from "./registry.ts";
import { renderingOf, type ListMetadata } from "./rendering.ts";
import { textResponse, type ApiRequest, type ApiResponse, type ResourcePath } from "./request.ts";
import type { ResourceDefinition } from "./resources/resource.ts";
import { selectionOf } from "./selection.ts";

/** What one request is about. */
export interface Target {
  definition: ResourceDefinition;
  path: ResourcePath;
  request: ApiRequest;
}

/** The committed object that the path names; throws `NotFound`. */
export function storedAt(context: ServerContext, { definition, path }: Omit<Target, "request">): Stored {
  const name = path.name ?? "";
  const stored = context.store.get(tableOf(definition), storageKey(definition, path.namespace, name));
  if (stored === undefined) throw notFound(definition, name);
  return stored;
}

export async function get(context: ServerContext, target: Target): Promise<ApiResponse> {
  const rendering = renderingOf(target.request, target.definition, context.now);
  const asked = versionParameter(target.request.query.get("resourceVersion"));
  refuseFuture(context, asked);
  const stored = storedAt(context, target);
  await ensureForms(context, target.definition, [stored]);
  return textResponse(200, rendering.object(stored));
}

export async function list(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, path, request } = target;
  const { query } = request;
  const rendering = renderingOf(request, definition, context.now);
  const selection = selectionOf(definition, query);
  const limit = limitParameter(query.get("limit"));
  const start = startOf(context, query);
  const prefix = path.namespace === undefined ? "" : `${path.namespace}/`;
  const all = itemsAt(context, tableOf(definition), start, prefix);
  const from = start.after === undefined ? 0 : firstAfter(all, start.after);
  const { items, last, more } = page(
    all,
    from,
    limit,
    (stored) => selection.all || selection.selects(stored.object),
  );
  const metadata: ListMetadata = { resourceVersion: String(start.revision) };
  if (more > 0 && last !== undefined) {
    metadata.continue = encodeToken({ revision: start.revision, after: last.key });
    // As upstream, a count only where no selector makes it a guess.
    if (selection.all) metadata.remainingItemCount = more;
  }
  await ensureForms(context, definition, items);
  return textResponse(200, rendering.list(items, metadata));
}

/** Objects that the selectors of a request select, now. */
export function selected(context: ServerContext, { definition, path, request }: Target): Stored[] {
  const selection = selectionOf(definition, request.query);
  const prefix = path.namespace === undefined ? "" : `${path.namespace}/`;
  return context.store.list(tableOf(definition), prefix).filter(({ object }) => selection.selects(object));
}

/** A resourceVersion in a query: undefined where it is not given, which is not the same as 0. */
export function versionParameter(text: string | null): number | undefined {
  if (text === null || text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw badRequest(`Invalid value: "${text}": invalid resourceVersion`);
  return Number(text);
}

/** Versions only ever come from this server, so one that is yet to come is an error of the client's. */
export function refuseFuture(context: ServerContext, revision: number | undefined): void {
  if (revision === undefined || revision <= context.store.revision) return;
  const message = `Too large resource version: ${revision}, current: ${context.store.revision}`;
  throw apiError("Timeout", message, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });
}

interface Start {
  revision: number;
  after?: string;
}

function startOf(context: ServerContext, query: URLSearchParams): Start {
  const token = query.get("continue");
  const match = query.get("resourceVersionMatch") || undefined;
  const revision = versionParameter(query.get("resourceVersion"));
  if (token !== null && token !== "") {
    if (match !== undefined) {
      throw badRequest("resourceVersionMatch is forbidden for list with continue");
    }
    if (revision !== undefined && revision !== 0) {
      throw badRequest("specifying resource version is not allowed when using continue");
    }
    const { after, revision: at } = decodeToken(token);
    if (at > context.store.revision) throw badRequest("continue key is not valid");
    return { after, revision: at < 0 ? context.store.revision : at };
  }
  if (match !== undefined) {
    if (match !== "Exact" && match !== "NotOlderThan") {
      throw badRequest(`resourceVersionMatch: Unsupported value: "${match}"`);
    }
    if (revision === undefined) {
      throw badRequest("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if (match === "Exact" && revision === 0) {
      throw badRequest('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"');
    }
  }
  refuseFuture(context, revision);
  return { revision: match === "Exact" && revision !== undefined ? revision : context.store.revision };
}

function itemsAt(
  context: ServerContext,
  table: string,
  { revision, after }: Start,
  prefix: string,
): Stored[] {
  try {
    return context.store.listAt(table, revision, prefix);
  } catch (error) {
    if (!(error instanceof StorageError) || error.reason !== "expired") throw error;
    if (after === undefined) throw expired();
    const failure = expired(
      "The provided continue parameter is too old to display a consistent list result. You can start a new list without " +
        "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. " +
        "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or " +
        "deleted between the time the first chunk was returned and now may show up in the list.",
    );
    failure.status.metadata = { continue: encodeToken({ revision: -1, after }) };
    throw failure;
  }
}

function page(
  all: Stored[],
  from: number,
  limit: number,
  selects: (stored: Stored) => boolean,
): { items: Stored[]; last?: Stored; more: number } {
  if (limit === 0) return { items: (from === 0 ? all : all.slice(from)).filter(selects), more: 0 };
  const items: Stored[] = [];
  let index = from;
  for (; index < all.length && items.length < limit; index++) {
    const stored = all[index] as Stored;
    if (selects(stored)) items.push(stored);
  }
  return { items, last: all[index - 1], more: all.length - index };
}

function firstAfter(all: Stored[], key: string): number {
  const index = all.findIndex((stored) => stored.key > key);
  return index < 0 ? all.length : index;
}

function limitParameter(text: string | null): number {
  if (text === null || text === "") return 0;
  if (!/^\d{1,9}$/.test(text)) throw badRequest(`Invalid value: "${text}": limit must be a positive number`);
  return Number(text);
}

function encodeToken({ revision, after }: { revision: number; after: string }): string {
  return Buffer.from(JSON.stringify({ v: "kws/v1", rv: revision, start: after })).toString("base64url");
}

function decodeToken(token: string): { revision: number; after: string } {
  try {
    const value = JSON.parse(Buffer.from(token, "base64url").toString()) as { rv: unknown; start: unknown };
    if (Number.isSafeInteger(value.rv) && typeof value.start === "string") {
      return { revision: Number(value.rv), after: value.start };
    }
  } catch {
    // Reported below, like every other token that is not ours.
  }
  throw badRequest("continue key is not valid");
}
