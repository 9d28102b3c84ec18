/** AWS KMS keys, by ARN: the key's region, role, profile and encryption context are as sops has them (its `kms/keysource.go`). */
import type { KMSClient } from "@aws-sdk/client-kms";
import { messageOf } from "@kws/base/errors";
import { SopsError } from "../errors.ts";
import { awsCredentials, awsEndpoint } from "./aws-credentials.ts";
import {
  createdAt,
  describeKey,
  type KeyOf,
  type KeyService,
  type KeyWorld,
  keyOf,
  printable,
} from "./key.ts";

/** How long one attempt may take. */
const attemptMs = 15_000;

export function openKms(world: KeyWorld, timeoutMs = attemptMs): KeyService {
  const clients = new Map<string, Promise<KMSClient>>();
  /** One for all keys that need the same credentials in the same region: it keeps connections and sessions. */
  const clientFor = async (key: KeyOf<"kms">): Promise<KMSClient> => {
    const region = regionOf(key);
    const id = JSON.stringify([region, key.role, key.aws_profile]);
    const client = clients.get(id) ?? openClient(world, key, region, timeoutMs);
    clients.set(id, client);
    return await client;
  };
  return {
    async wrap(key, data, call) {
      const kms = keyOf("kms", key);
      const answer = await ask(kms, "kms:Encrypt", call.signal, async () => {
        const { EncryptCommand } = await import("@aws-sdk/client-kms");
        const command = new EncryptCommand({
          KeyId: kms.arn,
          Plaintext: data,
          EncryptionContext: kms.context,
        });
        return (await (await clientFor(kms)).send(command, { abortSignal: call.signal })).CiphertextBlob;
      });
      return { key, enc: Buffer.from(answer).toString("base64"), created_at: createdAt(world) };
    },
    async unwrap(wrapped, call) {
      const kms = keyOf("kms", wrapped.key);
      return await ask(kms, "kms:Decrypt", call.signal, async () => {
        const { DecryptCommand } = await import("@aws-sdk/client-kms");
        const command = new DecryptCommand({
          KeyId: kms.arn,
          CiphertextBlob: Buffer.from(wrapped.enc, "base64"),
          EncryptionContext: kms.context,
        });
        return (await (await clientFor(kms)).send(command, { abortSignal: call.signal })).Plaintext;
      });
    },
  };
}

async function openClient(
  world: KeyWorld,
  key: KeyOf<"kms">,
  region: string,
  timeoutMs: number,
): Promise<KMSClient> {
  const { KMSClient } = await import("@aws-sdk/client-kms");
  const { env } = world;
  const config = {
    region,
    endpoint: awsEndpoint(env, "KMS"),
    maxAttempts: Number(env.AWS_MAX_ATTEMPTS ?? 3),
    retryMode: "standard",
    useFipsEndpoint: env.AWS_USE_FIPS_ENDPOINT === "true",
    useDualstackEndpoint: env.AWS_USE_DUALSTACK_ENDPOINT === "true",
    requestHandler: {
      connectionTimeout: Math.min(timeoutMs, 5000),
      requestTimeout: timeoutMs,
      throwOnRequestTimeout: true,
      httpsAgent: { keepAlive: true, proxyEnv: env },
    },
  };
  return new KMSClient({ ...config, credentials: await awsCredentials(world, key, config) });
}

function regionOf(key: KeyOf<"kms">): string {
  const region = /^arn:aws[\w-]*:kms:([^:]+):[0-9]+:(?:key|alias)\/.+$/.exec(key.arn)?.[1];
  if (region !== undefined) return region;
  throw new SopsError("errorGeneric", `${describeKey(key)} is no ARN of a key`, {
    code: "config",
    fix: "Write it as arn:aws:kms:REGION:ACCOUNT:key/ID, or …:alias/NAME.",
  });
}

/** Runs one request, and says of its failure which key it was for and what to do. */
async function ask(
  key: KeyOf<"kms">,
  action: "kms:Encrypt" | "kms:Decrypt",
  signal: AbortSignal | undefined,
  send: () => Promise<Uint8Array | undefined>,
): Promise<Uint8Array> {
  signal?.throwIfAborted();
  try {
    const bytes = await send();
    if (bytes === undefined) throw new SyntaxError("no bytes");
    return bytes;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof SopsError) throw error;
    const name = error instanceof Error ? error.name : "";
    // A parser's message may quote the answer, where the data key stands.
    const said = error instanceof SyntaxError ? "the answer could not be read" : printable(messageOf(error));
    throw new SopsError(
      action === "kms:Decrypt" ? "couldNotRetrieveKey" : "errorGeneric",
      `${describeKey(key)}${key.role ? ` with role ${printable(key.role)}` : ""}: ${said}`,
      {
        fix: fixes.get(name)?.(action) ?? (wasAnswered(error) ? checkKey() : unreachable),
        code: deniedNames.has(name) ? "permission" : "failed",
      },
    );
  }
}

/** True where the service itself refused. */
function wasAnswered(error: unknown): boolean {
  return error instanceof Error && "$fault" in error;
}

const signIn = () =>
  "Sign in to AWS (`aws sso login`), or name other credentials with AWS_PROFILE; `aws sts get-caller-identity` shows whose are used.";
const checkKey = () => "See the key's state in the console of its region, and its ARN in the file.";
const unreachable = "See whether the region's endpoint can be reached from here, and try again.";

/** By the names of errors, which are the service's words. */
const fixes = new Map<string, (action: string) => string>([
  [
    "AccessDeniedException",
    (action) => `Allow these credentials ${action} on the key, or name others with AWS_PROFILE.`,
  ],
  [
    "AccessDenied",
    () => "Allow these credentials sts:AssumeRole on the role, or name others with AWS_PROFILE.",
  ],
  ["CredentialsProviderError", signIn],
  ["ExpiredTokenException", signIn],
  ["ExpiredToken", signIn],
  ["InvalidClientTokenId", signIn],
  ["InvalidSignatureException", signIn],
  ["UnrecognizedClientException", signIn],
  [
    "InvalidCiphertextException",
    () =>
      "Restore the file from version control: its encryption context or the wrapped data key has been changed.",
  ],
]);

const deniedNames = new Set(["AccessDeniedException", "AccessDenied"]);
