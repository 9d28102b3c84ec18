/** A KMS and STS on loopback that speaks as AWS' do: what tests of clients need of the protocols, and failures on request. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export type Failure =
  /** An answer of the service. */
  | { status: number; type: string; message?: string }
  /** No answer at all, until the server closes. */
  | "silence"
  /** The connection breaks within the answer. */
  | "death"
  /** The answer ends too early. */
  | "half";

export interface KmsServer extends AsyncDisposable {
  url: string;
  /** What has come in: `Encrypt`, `Decrypt`, `AssumeRole`, with the access key that signed it. */
  requests: { action: string; accessKey: string; session?: string }[];
  /** The next requests fail so, one each. */
  failures: Failure[];
}

export async function startKmsServer(): Promise<KmsServer> {
  const master = randomBytes(32);
  const state: Pick<KmsServer, "requests" | "failures"> = { requests: [], failures: [] };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const signed =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/\d{8}\/([^/]+)\/(kms|sts)\/aws4_request, SignedHeaders=\S+, Signature=[0-9a-f]{64}$/;
    const [, accessKey = "", region, service] = signed.exec(request.headers.authorization ?? "") ?? [];
    if (request.headers["x-amz-date"] === undefined)
      return fail(response, 403, "MissingAuthenticationTokenException");
    if (service === "sts") return assumeRole(response, body, accessKey, state);
    const action =
      /^TrentService\.(Encrypt|Decrypt)$/.exec(String(request.headers["x-amz-target"]))?.[1] ?? "";
    state.requests.push({ action, accessKey });
    const input: unknown = JSON.parse(body);
    if (service !== "kms" || !isRequest(input)) return fail(response, 400, "ValidationException");
    if (!input.KeyId.includes(`:kms:${region}:`)) return fail(response, 400, "NotFoundException");
    const answer = action === "Encrypt" ? encrypt(master, input) : decrypt(master, input);
    if (answer === undefined) return fail(response, 400, "InvalidCiphertextException");
    const failure = state.failures.shift();
    const json = JSON.stringify(answer);
    if (failure === undefined) response.end(json);
    else if (failure === "half") response.end(json.slice(0, json.length / 2));
    else if (failure === "death") {
      response.writeHead(200, { "content-length": json.length });
      response.write(json.slice(0, 10), () => request.socket.destroy());
    } else if (failure !== "silence") fail(response, failure.status, failure.type, failure.message);
  }

  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    ...state,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The query protocol of STS. */
function assumeRole(
  response: ServerResponse,
  body: string,
  accessKey: string,
  { requests }: Pick<KmsServer, "requests">,
): void {
  const input = new URLSearchParams(body);
  const action = input.get("Action") ?? "";
  requests.push({ action, accessKey, session: input.get("RoleSessionName") ?? "" });
  response.setHeader("content-type", "text/xml");
  if (input.get("RoleArn")?.endsWith("/forbidden") === true) {
    response.statusCode = 403;
    response.end(
      `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>`,
    );
    return;
  }
  response.end(`<AssumeRoleResponse><AssumeRoleResult><Credentials>
    <AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
    <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`);
}

function fail(response: ServerResponse, status: number, type: string, message = type): void {
  response.writeHead(status, { "content-type": "application/x-amz-json-1.1" });
  response.end(JSON.stringify({ __type: type, message }));
}

interface KmsRequest {
  KeyId: string;
  Plaintext?: string;
  CiphertextBlob?: string;
  EncryptionContext?: Record<string, string>;
}

function isRequest(input: unknown): input is KmsRequest {
  return typeof input === "object" && input !== null && "KeyId" in input && typeof input.KeyId === "string";
}

/** The key and the context are authenticated, in any order of its entries. */
function authenticated(request: KmsRequest): Buffer {
  const context = Object.entries(request.EncryptionContext ?? {}).map((entry) => JSON.stringify(entry));
  return Buffer.from([request.KeyId, ...context.toSorted()].join("\n"));
}

function encrypt(master: Buffer, request: KmsRequest): object {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", master, nonce).setAAD(authenticated(request));
  const sealed = Buffer.concat([cipher.update(request.Plaintext ?? "", "base64"), cipher.final()]);
  return {
    KeyId: request.KeyId,
    CiphertextBlob: Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64"),
  };
}

function decrypt(master: Buffer, request: KmsRequest): object | undefined {
  const blob = Buffer.from(request.CiphertextBlob ?? "", "base64");
  try {
    const decipher = createDecipheriv("aes-256-gcm", master, blob.subarray(0, 12))
      .setAAD(authenticated(request))
      .setAuthTag(blob.subarray(12, 28));
    const plaintext = Buffer.concat([decipher.update(blob.subarray(28)), decipher.final()]);
    return { KeyId: request.KeyId, Plaintext: plaintext.toString("base64") };
  } catch {
    return undefined;
  }
}
