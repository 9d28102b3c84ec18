/** What the server says of itself: health, version, metrics, OpenAPI documents and the keys of its tokens. */
import { apiError } from "@kws/kube/status";
import { createHash } from "node:crypto";
import { kubernetesVersion } from "../version.ts";
import type { ServerContext } from "./context.ts";
import { parseAccept } from "./rendering.ts";
import { jsonResponse, type ApiRequest, type ApiResponse } from "./request.ts";
import { openapiV2, openapiV2Protobuf, openapiV3, openapiV3Index } from "./schema/index.ts";
import type { Json } from "./schema/json.ts";
import { issuer } from "./tokens.ts";

export async function information(
  context: ServerContext,
  request: ApiRequest,
): Promise<ApiResponse | undefined> {
  const path = request.path.length > 1 ? request.path.replace(/\/$/, "") : request.path;
  const health = /^\/(?<endpoint>healthz|livez|readyz)(?:\/|$)/.exec(path)?.groups?.["endpoint"];
  if (health !== undefined) {
    const verbose = request.query.has("verbose") && path === `/${health}`;
    return plainText(verbose ? `[+]ping ok\n[+]log ok\n[+]etcd ok\n${health} check passed\n` : "ok");
  }
  switch (path) {
    case "/version":
      return jsonResponse(200, {
        major: "1",
        minor: "35",
        gitVersion: kubernetesVersion,
        gitCommit: "",
        gitTreeState: "clean",
        buildDate: "1970-01-01T00:00:00Z",
        goVersion: "",
        compiler: "node",
        platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
      });
    case "/metrics":
      return plainText(metrics(context), "text/plain; version=0.0.4");
    case "/metrics/ingress": {
      const text = context.ingressMetrics();
      if (text === undefined) throw apiError("ServiceUnavailable", "the Ingress is not ready to be measured");
      return plainText(text, "text/plain; version=0.0.4");
    }
    case "/openapi/v2":
      return openapiTwo(context, request);
    case "/openapi/v3":
      return document(context, request, "v3", () =>
        openapiV3Index(context.registry.types, context.registry.definitions()),
      );
    case "/.well-known/openid-configuration":
      return jsonResponse(200, {
        issuer,
        jwks_uri: `${issuer}/openid/v1/jwks`,
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["ES256"],
      });
    case "/openid/v1/jwks":
      return jsonResponse(200, context.tokens.keys(), { "content-type": "application/jwk-set+json" });
    default:
      return openapiGroup(context, request, path);
  }
}

/** The one document that clients want as protobuf alone. */
async function openapiTwo(context: ServerContext, request: ApiRequest): Promise<ApiResponse> {
  const { types } = context.registry;
  const make = () => openapiV2(types, context.registry.definitions());
  const accepted = parseAccept(request.headers.accept).map(({ type }) => type);
  const wantsProtobuf = !accepted.some(acceptable) && accepted.some((type) => protobufTypes.includes(type));
  if (!wantsProtobuf) return document(context, request, "v2", make);
  return document(context, request, "v2 protobuf", make, openapiV2Protobuf);
}

const protobufTypes = [
  "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
  "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];

async function openapiGroup(
  context: ServerContext,
  request: ApiRequest,
  path: string,
): Promise<ApiResponse | undefined> {
  const groupVersion = /^\/openapi\/v3\/(?<path>api\/v1|apis\/[^/]+\/[^/]+)$/.exec(path)?.groups?.path;
  if (groupVersion === undefined) return undefined;
  const { registry } = context;
  const [group, version] = groupVersion === "api/v1" ? ["", "v1"] : groupVersion.split("/").slice(1);
  if (!registry.definitions().some((one) => one.group === group && one.version === version)) return undefined;
  const name = group === "" ? (version ?? "") : `${group}/${version}`;
  return document(context, request, path, () => openapiV3(name, registry.types, registry.definitions()));
}

interface Document {
  text: string | Buffer;
  etag: string;
}

/** Documents as text, by path, kept until the resources change. */
const documents = new WeakMap<ServerContext, { version: number; texts: Map<string, Promise<Document>> }>();

async function document(
  context: ServerContext,
  request: ApiRequest,
  name: string,
  make: () => Promise<Json>,
  toProtobuf?: (document: Json) => Buffer,
): Promise<ApiResponse> {
  const { version } = context.registry;
  let kept = documents.get(context);
  if (kept?.version !== version) documents.set(context, (kept = { version, texts: new Map() }));
  let making = kept.texts.get(name);
  if (making === undefined) kept.texts.set(name, (making = writeDocument(make, toProtobuf)));
  const found = await making;
  const headers = {
    "content-type": toProtobuf === undefined ? "application/json" : (protobufTypes[0] ?? ""),
    etag: found.etag,
    vary: "Accept",
    // A URL that carries the hash of the content is good for ever; others have to be asked again.
    "cache-control": request.query.has("hash") ? "public, immutable, max-age=31536000" : "no-cache, private",
  };
  if (toProtobuf === undefined && !parseAccept(request.headers.accept).some(({ type }) => acceptable(type))) {
    return { status: 406, headers: {}, body: "" };
  }
  if (request.headers["if-none-match"] === found.etag) return { status: 304, headers, body: "" };
  return { status: 200, headers, body: found.text };
}

async function writeDocument(
  make: () => Promise<Json>,
  toProtobuf: (document: Json) => string | Buffer = JSON.stringify,
): Promise<Document> {
  const text = toProtobuf(await make());
  return { text, etag: `"${createHash("sha256").update(text).digest("hex").toUpperCase()}"` };
}

/** Clients ask for the protobuf form under several names and take JSON where they name it. */
function acceptable(type: string): boolean {
  return type === "application/json" || type === "*/*" || type === "application/*" || type === "";
}

function plainText(body: string, type = "text/plain; charset=utf-8"): ApiResponse {
  return { status: 200, headers: { "content-type": type, "x-content-type-options": "nosniff" }, body };
}

function metrics({ store }: ServerContext): string {
  const objects = store
    .resources()
    .map((name) => `apiserver_storage_objects{resource="${name}"} ${store.list(name).length}`);
  return [
    "# HELP apiserver_storage_objects Number of stored objects.",
    "# TYPE apiserver_storage_objects gauge",
    ...objects,
    "# TYPE apiserver_resource_version counter",
    `apiserver_resource_version ${store.revision}`,
    "# TYPE process_resident_memory_bytes gauge",
    `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
    "",
  ].join("\n");
}
