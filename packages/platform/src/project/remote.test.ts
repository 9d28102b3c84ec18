import { expect, test } from "vitest";
import { remoteOf, remoteServices } from "./remote.ts";
import type { Local, Remote } from "./schema.ts";
import { parseYaml } from "./yaml-file.ts";

const file = parseYaml("kws.yaml", "stacks:\n  shop:\n    remote:\n      services: [a]\n      except: [b]\n");

function merged(shared: Remote, own: Remote): Remote | undefined {
  const settings: Local = { stacks: { shop: { remote: own } } };
  return remoteOf(file, { shop: { remote: shared } }, { file, settings })["shop"];
}

test("kws.local.yaml counts before kws.yaml, key by key", () => {
  expect(merged({ context: "qa", namespace: "qa1" }, { namespace: "qa2", services: ["payments"] })).toEqual({
    context: "qa",
    namespace: "qa2",
    services: ["payments"],
  });
});

test("which services one person uses replaces what the workspace says of it, in either way", () => {
  expect(merged({ context: "qa", services: ["payments"] }, { except: ["web"] })).toEqual({
    context: "qa",
    except: ["web"],
  });
  expect(merged({ context: "qa", services: ["payments"] }, { context: "qb" })).toEqual({
    context: "qb",
    services: ["payments"],
  });
});

test("a file that says it in both ways, and one that names no stack of the workspace, are told where", () => {
  const both = { services: ["a"], except: ["b"] };
  expect(() => remoteOf(file, { shop: { remote: both } }, { file, settings: {} })).toThrow(
    expect.objectContaining({ code: "config", at: expect.stringMatching(/kws\.yaml:5:7$/) }),
  );
  const settings = { stacks: { shpo: {} } };
  expect(() => remoteOf(file, { shop: {} }, { file, settings })).toThrow(
    expect.objectContaining({ code: "config", fix: expect.stringContaining("shop") }),
  );
});

const names = ["web", "orders", "payments", "catalog"];
const stack = (remote?: Remote) => ({
  name: "shop",
  namespace: "shop",
  profile: "local",
  services: names,
  remote,
});

test("the remote services are those that are named, or all but those that are", () => {
  const none = { remote: [], local: [] };
  expect(remoteServices(stack(), names, none)).toEqual([]);
  expect(remoteServices(stack({ context: "qa" }), names, none)).toEqual([]);
  expect(remoteServices(stack({ services: ["payments"] }), names, none)).toEqual(["payments"]);
  expect(remoteServices(stack({ except: ["web"] }), names, none)).toEqual(["orders", "payments", "catalog"]);
});

test("flags add to them and take away, and a name that the stack does not have is told", () => {
  const remote = stack({ services: ["payments"] });
  expect(remoteServices(remote, names, { remote: ["catalog"], local: ["payments"] })).toEqual(["catalog"]);
  expect(() => remoteServices(remote, names, { remote: ["paymnets"], local: [] })).toThrow(
    expect.objectContaining({ code: "not-found", fix: expect.stringContaining("payments") }),
  );
});
