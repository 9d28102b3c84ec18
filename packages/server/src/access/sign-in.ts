/**
 * Sign-ins between their two halves, in a browser or from a device: kept in the database, so that any server ends what another
 * began, ended once, and by whoever began it alone.
 */
import { ApiError } from "@kws/api/errors";
import type { DevicePoll, DeviceSignIn } from "@kws/api/sign-in";
import { UserError } from "@kws/base/errors";
import { sql, type Transaction } from "kysely";
import { record } from "../audit/record.ts";
import type { ServerContext } from "../context.ts";
import type { Tables } from "../database/schema.ts";
import { isSameHash, newToken, parseToken } from "./bearer.ts";
import type { Identity, Oidc, PendingSignIn } from "./oidc.ts";
import { issueToken, lifetimes } from "./tokens.ts";

/** What the server has to remember of one. */
export type SignIn =
  | ({ kind: "browser"; returnTo: string } & PendingSignIn)
  | { kind: "device"; deviceCode: string; intervalSeconds: number };

type Context = Pick<ServerContext, "db" | "now" | "oidc">;

/** How long somebody may stay at the provider's pages. */
const browserMs = 10 * 60_000;
/** Of one address at the same time: each costs something here and at the provider. */
const maxOpen = 50;
/** How long a token of somebody who was signed in is shown after its end. */
const keptMs = 30 * 86_400_000;

export function requireOidc({ oidc }: Context): Oidc {
  if (oidc !== undefined) return oidc;
  throw new UserError("this server has no identity provider to sign in with", {
    code: "not-found",
    fix: "Get a token of an admin and use `kws login --token -`, or configure KWS_SERVER_OIDC_ISSUER.",
  });
}

/** `returnTo` is a path of this server, where the browser goes when it is signed in. */
export async function beginBrowser(
  ctx: Context,
  redirectUri: string,
  returnTo: string,
  address: string,
): Promise<{ url: string; handle: string; maxAgeSeconds: number }> {
  await refuseMany(ctx, address);
  const { url, pending } = await requireOidc(ctx).begin(redirectUri);
  const data: SignIn = { kind: "browser", returnTo, ...pending };
  const handle = await keep(ctx, data, address, browserMs);
  return { url, handle, maxAgeSeconds: browserMs / 1000 };
}

export async function finishBrowser(
  ctx: Context,
  handle: string,
  callbackUrl: URL,
): Promise<{ token: string; returnTo: string; maxAgeSeconds: number }> {
  const oidc = requireOidc(ctx);
  const { data } = await find(ctx, handle);
  if (data.kind !== "browser") throw unknownSignIn();
  // Taken before it is used: whatever comes of it, it was used once.
  await take(ctx.db, handle);
  const identity = await oidc.finish(callbackUrl, data);
  const token = await ctx.db.transaction().execute((trx) => signIn(trx, ctx, identity, "session"));
  return { token, returnTo: data.returnTo, maxAgeSeconds: lifetimes.session / 1000 };
}

export async function beginDevice(ctx: Context, address: string): Promise<DeviceSignIn> {
  await refuseMany(ctx, address);
  const { deviceCode, ...shown } = await requireOidc(ctx).beginDevice();
  const { intervalSeconds, expiresInSeconds } = shown;
  const data: SignIn = { kind: "device", deviceCode, intervalSeconds };
  const handle = await keep(ctx, data, address, expiresInSeconds * 1000);
  return { ...shown, handle };
}

export async function pollDevice(ctx: Context, handle: string): Promise<DevicePoll> {
  const oidc = requireOidc(ctx);
  const { id, data } = await find(ctx, handle);
  if (data.kind !== "device") throw unknownSignIn();
  const { deviceCode, intervalSeconds } = data;
  if (!(await isTurn(ctx, id, intervalSeconds))) {
    await slowDown(ctx, id, data);
    return { state: "slow-down" };
  }
  const answer = await oidc.pollDevice(deviceCode).catch(async (error: unknown) => {
    // Refused, or too late: there is nothing more to ask.
    if (error instanceof UserError && error.code === "permission") await take(ctx.db, handle);
    throw error;
  });
  if (answer.state === "slow-down") await slowDown(ctx, id, data);
  if (answer.state !== "done") return { state: answer.state };
  const token = await ctx.db.transaction().execute(async (trx) => {
    await take(trx, handle);
    return signIn(trx, ctx, answer.identity, "login");
  });
  return { state: "done", token };
}

/** Remembers who it is, and gives them a token. */
async function signIn(
  trx: Transaction<Tables>,
  { now }: Context,
  identity: Identity,
  kind: "login" | "session",
): Promise<string> {
  const at = now();
  const { subject, name, teams } = identity;
  const email = identity.email ?? null;
  const user = await trx
    .insertInto("users")
    .values({ subject, name, email, teams, created_at: at, signed_in_at: at })
    .onConflict((conflict) =>
      conflict.column("subject").doUpdateSet({ name, email, teams, signed_in_at: at }),
    )
    .returning("disabled")
    .executeTakeFirstOrThrow();
  if (user.disabled) {
    throw new UserError("you may not sign in here", {
      code: "permission",
      fix: "Ask an admin of the server to enable you.",
    });
  }
  await trx
    .deleteFrom("tokens")
    .where("expires_at", "<", new Date(at.getTime() - keptMs))
    .where("kind", "<>", "service")
    .execute();
  const expiresAt = new Date(at.getTime() + lifetimes[kind]);
  const { row, text } = await issueToken(trx, {
    kind,
    name,
    owner: subject,
    created_at: at,
    expires_at: expiresAt,
  });
  await record(trx, {
    actor: { kind: "user", id: subject, name },
    action: "user.sign-in",
    subject,
    after: { kind, token: row.id, teams },
  });
  return text;
}

/** Before the provider is asked. */
async function refuseMany({ db, now }: Context, address: string): Promise<void> {
  await db.deleteFrom("sign_ins").where("expires_at", "<", now()).execute();
  const { open } = await db
    .selectFrom("sign_ins")
    .select((eb) => eb.fn.countAll<string>().as("open"))
    .where("address", "=", address)
    .executeTakeFirstOrThrow();
  if (Number(open) < maxOpen) return;
  throw new ApiError("too-many", "too many sign-ins were begun from here and not ended", { retryAfter: 60 });
}

async function keep(
  { db, now }: Context,
  data: SignIn,
  address: string,
  lifetimeMs: number,
): Promise<string> {
  const at = now().getTime();
  const { id, hash, text } = newToken();
  const next = data.kind === "device" ? new Date(at + data.intervalSeconds * 1000) : null;
  const expiresAt = new Date(at + lifetimeMs);
  await db
    .insertInto("sign_ins")
    .values({ id, hash, data: JSON.stringify(data), address, next_poll_at: next, expires_at: expiresAt })
    .execute();
  return text;
}

async function find({ db, now }: Context, handle: string): Promise<{ id: string; data: SignIn }> {
  const parsed = parseToken(handle);
  if (parsed === undefined) throw unknownSignIn();
  const row = await db
    .selectFrom("sign_ins")
    .selectAll()
    .where("id", "=", parsed.id)
    .where("expires_at", ">", now())
    .executeTakeFirst();
  if (row === undefined || !isSameHash(row.hash, parsed.hash)) throw unknownSignIn();
  return { id: row.id, data: row.data };
}

/** Of several at the same time one gets it. */
async function take(db: Transaction<Tables> | ServerContext["db"], handle: string): Promise<void> {
  const id = parseToken(handle)?.id ?? "";
  const taken = await db.deleteFrom("sign_ins").where("id", "=", id).executeTakeFirst();
  if (taken.numDeletedRows !== 1n) throw unknownSignIn();
}

/** Whether the provider may be asked now; who is told so is the only one until the interval has passed again. */
async function isTurn({ db, now }: Context, id: string, intervalSeconds: number): Promise<boolean> {
  const at = now();
  const turn = await db
    .updateTable("sign_ins")
    .set({ next_poll_at: new Date(at.getTime() + intervalSeconds * 1000) })
    .where("id", "=", id)
    .where("next_poll_at", "<=", at)
    .executeTakeFirst();
  return turn.numUpdatedRows === 1n;
}

/** RFC 8628, section 3.5: five seconds more, from then on. */
async function slowDown(
  { db, now }: Context,
  id: string,
  data: Extract<SignIn, { kind: "device" }>,
): Promise<void> {
  const intervalSeconds = data.intervalSeconds + 5;
  await db
    .updateTable("sign_ins")
    .set({
      data: sql`${JSON.stringify({ ...data, intervalSeconds })}::jsonb`,
      next_poll_at: new Date(now().getTime() + intervalSeconds * 1000),
    })
    .where("id", "=", id)
    .execute();
}

/** The same for one that never was, has ended, or is somebody else's. */
function unknownSignIn(): ApiError {
  return new ApiError("permission", "this sign-in has ended, or was begun elsewhere", {
    fix: "Sign in again.",
  });
}
