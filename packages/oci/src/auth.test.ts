import { expect, test } from "vitest";
import { parseChallenges } from "./auth.ts";

test.each([
  ['Basic realm="x"', [{ scheme: "basic", parameters: { realm: "x" } }]],
  [
    'Bearer realm="https://auth.example.com/token?a=b,c",service="reg",scope="repository:a/b:pull,push"',
    [
      {
        scheme: "bearer",
        parameters: {
          realm: "https://auth.example.com/token?a=b,c",
          service: "reg",
          scope: "repository:a/b:pull,push",
        },
      },
    ],
  ],
  [
    'Negotiate, BEARER Realm = "a \\"b\\"" , error=invalid_token, Basic realm=x',
    [
      { scheme: "negotiate", parameters: {} },
      { scheme: "bearer", parameters: { realm: 'a "b"', error: "invalid_token" } },
      { scheme: "basic", parameters: { realm: "x" } },
    ],
  ],
  ["", []],
  ['"broken', []],
])("the header %j is read", (header, challenges) => {
  expect(parseChallenges(header)).toEqual(challenges);
});
