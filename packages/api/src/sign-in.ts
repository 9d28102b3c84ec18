/** Signing in from a device that has no browser of its own: begin, show the code, and ask until somebody has agreed. */
import { type Static, Type } from "typebox";
import { defineRoute } from "./route.ts";

export const DeviceSignIn = Type.Object({
  handle: Type.String({ description: "A secret, to ask with." }),
  userCode: Type.String(),
  verificationUri: Type.String({ description: "Where the code is entered." }),
  verificationUriComplete: Type.Optional(Type.String({ description: "The same with the code in it." })),
  expiresInSeconds: Type.Number(),
  intervalSeconds: Type.Number({ description: "The least time between two questions." }),
});
export type DeviceSignIn = Static<typeof DeviceSignIn>;

export const DevicePoll = Type.Object({
  state: Type.Enum(["pending", "slow-down", "done"], {
    description: "`slow-down`: ask five seconds less often from now on, as RFC 8628 has it.",
  }),
  token: Type.Optional(Type.String({ description: "When done; it is shown this once." })),
});
export type DevicePoll = Static<typeof DevicePoll>;

export const beginDeviceSignIn = defineRoute({
  method: "POST",
  path: "/api/v1/sign-in/device",
  response: DeviceSignIn,
  status: 201,
  permission: "public",
  summary: "Begin to sign in from a device",
});

export const pollDeviceSignIn = defineRoute({
  method: "POST",
  path: "/api/v1/sign-in/device/poll",
  body: Type.Object({ handle: Type.String({ maxLength: 100 }) }, { additionalProperties: false }),
  response: DevicePoll,
  permission: "public",
  summary: "Ask whether somebody has agreed to a sign-in from a device",
});

export const signOut = defineRoute({
  method: "POST",
  path: "/api/v1/sign-out",
  response: Type.Object({}),
  permission: "self",
  summary: "Revoke the token that the request is made with",
});
