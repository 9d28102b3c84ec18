import { afterAll, beforeAll, expect, test } from "vitest";
import { type Oidc, openOidc } from "./oidc.ts";
import { type TestProvider, testProvider } from "./testing/provider.ts";

const redirectUri = "http://127.0.0.1:1/auth/callback";
const person = { name: "u1 of the tests", email: "u1@example.com", groups: ["payments", "web"] };
let provider: TestProvider;
let oidc: Oidc;

beforeAll(async () => {
  provider = await testProvider({ u1: person }, redirectUri);
  oidc = openOidc({
    issuer: provider.issuer,
    clientId: provider.clientId,
    clientSecret: provider.clientSecret,
    scopes: ["openid", "profile", "email"],
    teamsClaim: "groups",
  });
});
afterAll(() => provider[Symbol.asyncDispose]());

const identity = { subject: "u1", name: person.name, email: person.email, teams: person.groups };

test("somebody signs in with a browser, by a code that PKCE protects", async () => {
  const { url, pending } = await oidc.begin(redirectUri);
  expect(new URL(url).searchParams.get("code_challenge_method")).toBe("S256");
  const callback = await provider.browse(url, "u1", redirectUri);
  expect(await oidc.finish(callback, pending)).toEqual(identity);
  await expect(oidc.finish(callback, pending), "a code is good for once").rejects.toMatchObject({
    code: "permission",
  });
});

test("an answer to somebody else's sign-in is refused", async () => {
  const { url } = await oidc.begin(redirectUri);
  const other = await oidc.begin(redirectUri);
  const callback = await provider.browse(url, "u1", redirectUri);
  await expect(oidc.finish(callback, other.pending)).rejects.toMatchObject({ code: "permission" });
  const mixed = { ...other.pending, state: callback.searchParams.get("state") ?? "" };
  await expect(
    oidc.finish(callback, mixed),
    "with the right state and another's verifier",
  ).rejects.toMatchObject({
    code: "permission",
  });
});

test("a device signs in when somebody has agreed in a browser", async () => {
  const device = await oidc.beginDevice();
  expect(await oidc.pollDevice(device.deviceCode)).toEqual({ state: "pending" });
  await provider.browse(device.verificationUriComplete ?? "", "u1", "");
  expect(await oidc.pollDevice(device.deviceCode)).toEqual({ state: "done", identity });
  await expect(oidc.pollDevice(device.deviceCode), "once").rejects.toMatchObject({ code: "permission" });
});

test("a provider that is away is found when it is back", async () => {
  const settings = {
    issuer: "http://127.0.0.1:1",
    clientId: "kws",
    scopes: ["openid"],
    teamsClaim: "groups",
  };
  const away = openOidc(settings);
  await expect(away.begin(redirectUri)).rejects.toThrow("cannot be used");
  settings.issuer = provider.issuer;
  const { url } = await away.begin(redirectUri);
  expect(url).toContain(provider.issuer);
});

test("plain http is for loopback alone", async () => {
  const plain = openOidc({
    issuer: "http://id.example.com",
    clientId: "kws",
    scopes: ["openid"],
    teamsClaim: "groups",
  });
  await expect(plain.begin(redirectUri)).rejects.toMatchObject({
    cause: expect.objectContaining({ message: expect.stringContaining("HTTPS") }),
  });
});
