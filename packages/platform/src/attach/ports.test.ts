import { expect, test } from "vitest";
import { parseForwards } from "./ports.ts";

test("ports belong to the service before them", () => {
  expect(parseForwards(["orders", "8080:80", "9229", "postgres", "web", "8443:https"])).toEqual([
    {
      service: "orders",
      ports: [
        { local: 8080, remote: 80 },
        { local: undefined, remote: 9229 },
      ],
    },
    { service: "postgres", ports: [] },
    { service: "web", ports: [{ local: 8443, remote: "https" }] },
  ]);
});

test.each(["0", "orders:80", "80:", ":80", "80:70000", "8080:80/udp"])(
  "%s is refused with what to write",
  (word) => {
    expect(() => parseForwards(["orders", word])).toThrow("is no port");
  },
);

test("a port without a service is refused", () => {
  expect(() => parseForwards(["8080:80", "orders"])).toThrow("before any service");
});
