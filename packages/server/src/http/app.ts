/**
 * The HTTP server: every route of the API with what answers it. A request is limited in size and rate, its caller found out, checked
 * against the route's schemas and permission, and only then handled; whatever is thrown becomes an answer of the error table.
 */
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import swagger from "@fastify/swagger";
import { TypeBoxValidatorCompiler } from "@fastify/type-provider-typebox";
import { ApiError, ErrorBody } from "@kws/api/errors";
import { encodeMessage } from "@kws/api/sse";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { type Actor, anonymous } from "../access/actor.ts";
import type { Authenticate } from "../access/authenticate.ts";
import { authorise } from "../access/authorise.ts";
import { addBrowserSignIn } from "../access/browser.ts";
import type { ServerContext } from "../context.ts";
import { describeFailure } from "./failures.ts";
import type { Endpoint, Request, Stream } from "./handlers.ts";
import { createLimiter } from "./limits.ts";
import { createMetrics, type Metrics } from "./metrics.ts";

export interface AppOptions {
  ctx: ServerContext;
  endpoints: readonly Endpoint[];
  authenticate: Authenticate;
  version: string;
  /** Throws where the server should get no requests now. */
  ready: () => Promise<void>;
}

export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const { ctx, endpoints, version } = options;
  const { config, log } = ctx;
  const metrics = createMetrics();
  const app = fastify({
    bodyLimit: config.maxBodyBytes,
    trustProxy: config.trustedProxies.length === 0 ? false : config.trustedProxies,
    genReqId: (raw) => {
      const given = raw.headers["x-request-id"];
      return typeof given === "string" && /^[\w-]{1,100}$/.test(given) ? given : randomUUID();
    },
    // Live streams end by the signal; what is being answered is waited for.
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 300 },
  });
  app.setValidatorCompiler(TypeBoxValidatorCompiler);
  app.setErrorHandler((error, request, reply) => {
    const { status, body, retryAfter, bug } = describeFailure(error, request.id);
    if (bug) {
      const { stack } = error instanceof Error ? error : { stack: String(error) };
      log.error("a request failed", { requestId: request.id, route: request.routeOptions.url, stack });
    }
    if (body.code === "too-many") metrics.limited.inc();
    if (retryAfter !== undefined) void reply.header("retry-after", retryAfter);
    return reply.code(status).send(body);
  });
  app.setNotFoundHandler((request) => {
    throw new ApiError("not-found", `there is no ${request.method} ${request.url.split("?")[0]}`);
  });
  app.addHook("onRequest", async (request, reply) => {
    void reply.header("x-request-id", request.id);
  });
  app.addHook("onResponse", async (request, reply) => {
    const route = request.routeOptions.url ?? "none";
    const { method, id: requestId } = request;
    const status = reply.statusCode;
    metrics.requests.observe({ method, route, status: String(status) }, reply.elapsedTime / 1000);
    log.debug("request", { requestId, method, route, status, ms: Math.round(reply.elapsedTime) });
  });
  await app.register(swagger, {
    openapi: { openapi: "3.1.0", info: { title: "kws", version, description: "The API of the kws server." } },
  });
  addOperations(app, options, metrics);
  addBrowserSignIn(app, ctx);
  const limiter = createLimiter(config.requestsPerMinute, () => performance.now());
  const streams: Streams = { open: 0 };
  for (const endpoint of endpoints)
    addEndpoint(app, endpoint, { ...options, metrics, streams, take: (key) => limiter.take(key) });
  return app;
}

/** For whoever runs the server: no token is asked for, and nothing is told that needs one. */
function addOperations(app: FastifyInstance, { ready }: AppOptions, metrics: Metrics): void {
  const hide = { schema: { hide: true } };
  app.get("/healthz", hide, () => ({ status: "ok" }));
  app.get("/readyz", hide, async () => {
    await ready();
    return { status: "ok" };
  });
  app.get("/metrics", hide, async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
  app.get("/openapi.json", hide, () => app.swagger());
}

interface EndpointOptions extends AppOptions {
  metrics: Metrics;
  take: (key: string) => void;
  streams: Streams;
}

/** Those that are open now. */
interface Streams {
  open: number;
}

function addEndpoint(app: FastifyInstance, { route, handle }: Endpoint, options: EndpointOptions): void {
  const { ctx, authenticate, take } = options;
  const actors = new WeakMap<FastifyRequest, Actor>();
  app.route({
    method: route.method,
    url: route.path,
    ...(route.bodyLimit === undefined ? {} : { bodyLimit: route.bodyLimit }),
    schema: {
      summary: route.summary,
      ...(route.params === undefined ? {} : { params: route.params }),
      ...(route.query === undefined ? {} : { querystring: route.query }),
      ...(route.body === undefined ? {} : { body: route.body }),
      response: {
        ...(route.stream === true ? {} : { [route.status ?? 200]: route.response }),
        default: ErrorBody,
      },
    },
    // Before the body is read: nobody unknown makes the server read or check anything.
    onRequest: async (request) => {
      const actor: Actor =
        route.permission === "public" ? anonymous(request.ip) : await authenticate(request);
      take(`${actor.kind} ${actor.id}`);
      authorise(actor, route, route.scoped === true ? undefined : {});
      actors.set(request, actor);
    },
    handler: async (request, reply) => {
      const actor = actors.get(request);
      if (actor === undefined) throw new Error("a request without a caller");
      const hungUp = new AbortController();
      reply.raw.once("close", () => hungUp.abort());
      const after = request.headers["last-event-id"];
      const input: Request<typeof route> = {
        params: request.params as Record<string, unknown>,
        query: request.query as Record<string, unknown>,
        body: request.body,
        actor,
        requestId: request.id,
        after: typeof after === "string" ? after : undefined,
        signal: AbortSignal.any([hungUp.signal, ctx.signal]),
        authorise: (resource) => authorise(actor, route, resource),
      };
      const answer = handle(input, ctx);
      if (route.stream === true) return sendStream(reply, answer as Stream<unknown>, options);
      return reply.code(route.status ?? 200).send(await answer);
    },
  });
}

/** Items are asked for as the caller takes them, so a slow one costs no memory. */
function sendStream(
  reply: FastifyReply,
  stream: Stream<unknown>,
  { ctx: { config }, metrics, streams }: EndpointOptions,
): FastifyReply {
  if (streams.open >= config.maxStreams) {
    throw new ApiError("too-many", `more than ${config.maxStreams} streams are open`, { retryAfter: 5 });
  }
  streams.open++;
  metrics.streams.inc();
  const body = Readable.from(encode(stream), { objectMode: false, highWaterMark: 64 * 1024 });
  body.once("close", () => {
    streams.open--;
    metrics.streams.dec();
  });
  return reply
    .type("text/event-stream")
    .header("cache-control", "no-store")
    .header("x-accel-buffering", "no")
    .send(body);
}

async function* encode(stream: Stream<unknown>): AsyncGenerator<string> {
  // The caller has its headers at once.
  yield ": hello\n\n";
  for await (const part of stream)
    yield part === undefined ? ":\n\n" : encodeMessage({ id: part.id, data: JSON.stringify(part.item) });
}
