/**
 * Keys of services that have no client here (Google Cloud KMS, Azure Key Vault, Vault, Huawei Cloud KMS): the `sops` program
 * wraps and unwraps for them. It runs as a key service on a socket that only this user can reach, so that the data key is
 * never in a file or an argument.
 */
import { join } from "node:path";
import { messageOf, UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { SopsError } from "../errors.ts";
import {
  createdAt,
  describeKey,
  type Key,
  type KeyOf,
  type KeyService,
  type KeyType,
  type KeyWorld,
  printable,
} from "./key.ts";

/** For starting the program, and for the one request to the cloud. */
const timeoutMs = 60_000;

export type ExternalKeyType = Exclude<KeyType, "age" | "pgp" | "kms">;

export function openExternal(world: KeyWorld): KeyService {
  return {
    async wrap(key, data, call) {
      const enc = await callSops(world, external(key), "Encrypt", data, call.signal);
      return { key, enc: enc.toString(), created_at: createdAt(world) };
    },
    async unwrap({ key, enc }, call) {
      return Uint8Array.from(await callSops(world, external(key), "Decrypt", Buffer.from(enc), call.signal));
    },
  };
}

function external(key: Key): KeyOf<ExternalKeyType> {
  if (key.type === "age" || key.type === "pgp" || key.type === "kms") {
    throw new TypeError(`a ${key.type} key was given to the sops program`);
  }
  return key;
}

/** Runs `sops keyservice` for the time of one request. */
async function callSops(
  { env, cwd }: KeyWorld,
  key: KeyOf<ExternalKeyType>,
  method: "Encrypt" | "Decrypt",
  bytes: Uint8Array,
  callerSignal: AbortSignal | undefined,
): Promise<Buffer> {
  callerSignal?.throwIfAborted();
  // HTTP/2 takes longer to load than all the rest of the services.
  const { callKeyService } = await import("./keyservice.ts");
  await using dir = await tempDir("kws-sops");
  const socket = join(dir.path, "socket");
  const done = new AbortController();
  const signal = AbortSignal.any([
    done.signal,
    AbortSignal.timeout(timeoutMs),
    ...(callerSignal ? [callerSignal] : []),
  ]);
  const listening = Promise.withResolvers<void>();
  const ended = exec("sops", ["keyservice", "--network", "unix", "--address", socket], {
    env,
    cwd,
    signal,
    onLine: (line) => {
      if (line.includes("Listening on")) listening.resolve();
    },
  }).then(
    ({ exitCode, stderr }) =>
      listening.reject(new UserError(`it exited with ${exitCode}: ${lastLines(stderr, 1)}`)),
    (error: unknown) => listening.reject(error),
  );
  try {
    await listening.promise;
    return await callKeyService(socket, method, key, bytes, signal);
  } catch (error) {
    callerSignal?.throwIfAborted();
    throw failure(key, method, error);
  } finally {
    done.abort();
    await ended;
  }
}

function failure(key: Key, method: "Encrypt" | "Decrypt", error: unknown): SopsError {
  const reason = method === "Decrypt" ? "couldNotRetrieveKey" : "errorGeneric";
  if (error instanceof UserError && error.code === "tool-missing") {
    return new SopsError(reason, `${describeKey(key)} needs the sops program, which is not on the PATH`, {
      code: "tool-missing",
      fix: "Install sops (https://getsops.io), or use an age, PGP or AWS KMS key.",
    });
  }
  return new SopsError(reason, `${describeKey(key)}: sops says: ${printable(messageOf(error))}`, {
    fix: "See whether sops itself can use the key, with the same credentials.",
  });
}
