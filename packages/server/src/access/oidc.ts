/**
 * Signing in through an OpenID Connect provider: authorization code with PKCE for people in a browser (OpenID Connect Core
 * 1.0, RFC 7636), device authorization for the CLI (RFC 8628). It says who somebody is; what they may do is not its business.
 */
import { UserError } from "@kws/base/errors";
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  type Configuration,
  discovery,
  genericGrantRequest,
  type IDToken,
  initiateDeviceAuthorization,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  ResponseBodyError,
} from "openid-client";
import type { Config } from "../config.ts";

export interface OidcSettings {
  /** The provider's issuer identifier; its metadata is found from it. Plain http is accepted on loopback alone. */
  issuer: string;
  clientId: string;
  /** A public client, which has none, is protected by PKCE. */
  clientSecret?: string;
  scopes: readonly string[];
  /** The claim that lists a person's teams, often `groups`. */
  teamsClaim: string;
}

/** Undefined where no provider is configured. */
export function oidcSettings(config: Config): OidcSettings | undefined {
  const { oidcIssuer: issuer, oidcClientId: clientId, oidcClientSecret: clientSecret } = config;
  if (issuer === undefined) return undefined;
  if (clientId === undefined) {
    throw new UserError("KWS_SERVER_OIDC_ISSUER is set without KWS_SERVER_OIDC_CLIENT_ID", {
      code: "config",
      fix: "Register the server with the identity provider, and set the id that it gives.",
    });
  }
  const { oidcScopes: scopes, oidcTeamsClaim: teamsClaim } = config;
  return { issuer, clientId, clientSecret, scopes, teamsClaim };
}

/** Who signed in, by a verified ID token. */
export interface Identity {
  subject: string;
  name: string;
  email?: string;
  teams: string[];
}

/** What a sign-in in a browser must bring back: kept by the one who began it, sealed, and used once. */
export interface PendingSignIn {
  state: string;
  nonce: string;
  verifier: string;
}

export interface DeviceSignIn {
  deviceCode: string;
  userCode: string;
  verificationUri: string;
  /** With the user's code in it, where the provider has such. */
  verificationUriComplete?: string;
  expiresInSeconds: number;
  /** The least time between two polls. */
  intervalSeconds: number;
}

/** `pending` and `slow-down` mean to ask again, the latter five seconds less often (RFC 8628, section 3.5). */
export type DevicePoll = { state: "pending" | "slow-down" } | { state: "done"; identity: Identity };

export interface Oidc {
  begin(redirectUri: string): Promise<{ url: string; pending: PendingSignIn }>;
  /** `callbackUrl` is the address that the provider sent the browser to, with its query. */
  finish(callbackUrl: URL, pending: PendingSignIn): Promise<Identity>;
  beginDevice(): Promise<DeviceSignIn>;
  pollDevice(deviceCode: string): Promise<DevicePoll>;
}

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code";

/** Finds the provider at its first use, and again after a failure: a server starts while its identity provider is away. */
export function openOidc(settings: OidcSettings): Oidc {
  let found: Promise<Configuration> | undefined;
  const configuration = (): Promise<Configuration> => {
    found ??= discover(settings).catch((error: unknown) => {
      found = undefined;
      throw error;
    });
    return found;
  };
  const scope = settings.scopes.join(" ");

  return {
    async begin(redirectUri) {
      const config = await configuration();
      const pending = {
        state: randomState(),
        nonce: randomNonce(),
        verifier: randomPKCECodeVerifier(),
      };
      const url = buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        scope,
        state: pending.state,
        nonce: pending.nonce,
        code_challenge: await calculatePKCECodeChallenge(pending.verifier),
        code_challenge_method: "S256",
      });
      return { url: url.href, pending };
    },

    async finish(callbackUrl, pending) {
      const config = await configuration();
      const answer = await authorizationCodeGrant(config, callbackUrl, {
        expectedState: pending.state,
        expectedNonce: pending.nonce,
        pkceCodeVerifier: pending.verifier,
        idTokenExpected: true,
      }).catch((error: unknown) => {
        throw refused(settings, error);
      });
      return identityOf(answer.claims(), settings);
    },

    async beginDevice() {
      const config = await configuration();
      const answer = await initiateDeviceAuthorization(config, { scope }).catch((error: unknown) => {
        throw refused(settings, error);
      });
      return {
        deviceCode: answer.device_code,
        userCode: answer.user_code,
        verificationUri: answer.verification_uri,
        verificationUriComplete: answer.verification_uri_complete,
        expiresInSeconds: answer.expires_in,
        intervalSeconds: answer.interval ?? 5,
      };
    },

    async pollDevice(deviceCode) {
      const config = await configuration();
      try {
        const answer = await genericGrantRequest(config, deviceGrant, { device_code: deviceCode });
        return { state: "done", identity: identityOf(answer.claims(), settings) };
      } catch (error) {
        if (error instanceof ResponseBodyError && error.error === "authorization_pending")
          return { state: "pending" };
        if (error instanceof ResponseBodyError && error.error === "slow_down") return { state: "slow-down" };
        throw refused(settings, error);
      }
    },
  };
}

async function discover({ issuer, clientId, clientSecret }: OidcSettings): Promise<Configuration> {
  const url = new URL(issuer);
  const isLoopback = ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  try {
    return await discovery(url, clientId, clientSecret, clientSecret === undefined ? None() : undefined, {
      execute: url.protocol === "http:" && isLoopback ? [allowInsecureRequests] : [],
      timeout: 10,
    });
  } catch (error) {
    throw new UserError(`the identity provider ${issuer} cannot be used`, {
      fix: "Check that the issuer is right and answers at /.well-known/openid-configuration.",
      cause: error,
    });
  }
}

function identityOf(claims: IDToken | undefined, settings: OidcSettings): Identity {
  if (claims === undefined)
    throw new UserError(`the identity provider ${settings.issuer} sent no ID token`, {
      fix: "Let the scopes contain openid.",
    });
  const { sub, name, preferred_username: username, email, email_verified: verified } = claims;
  const teams = claims[settings.teamsClaim];
  return {
    subject: sub,
    name: firstText(name, username, email) ?? sub,
    // An address that nobody has verified may be somebody else's.
    email: typeof email === "string" && verified !== false ? email : undefined,
    teams: Array.isArray(teams) ? teams.filter((team) => typeof team === "string") : [],
  };
}

function firstText(...values: unknown[]): string | undefined {
  return values.find((value): value is string => typeof value === "string" && value !== "");
}

/** What a provider says of its own refusal is safe to show; tokens and codes are not in it. */
function refused({ issuer }: OidcSettings, error: unknown): UserError {
  const said = error instanceof ResponseBodyError ? `: ${error.error_description ?? error.error}` : "";
  return new UserError(`the identity provider ${issuer} refused to sign you in${said}`, {
    code: "permission",
    fix: "Sign in again.",
    cause: error,
  });
}
