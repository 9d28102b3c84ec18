import { describe, expect, test } from "vitest";
import { builtinTypes, jsonPatch, mergePatch, SchemaError, strategicMergePatch } from "./index.ts";
import type { ObjectSchema } from "./types.ts";

describe("JSON patch", () => {
  const at = (object: unknown, ...operations: object[]) => jsonPatch(object, operations);
  test("the examples of RFC 6902", () => {
    expect(at({ foo: "bar" }, { op: "add", path: "/baz", value: "qux" })).toEqual({ baz: "qux", foo: "bar" });
    expect(at({ foo: ["bar", "baz"] }, { op: "add", path: "/foo/1", value: "qux" })).toEqual({
      foo: ["bar", "qux", "baz"],
    });
    expect(at({ foo: ["bar", "qux", "baz"] }, { op: "remove", path: "/foo/1" })).toEqual({
      foo: ["bar", "baz"],
    });
    expect(at({ baz: "qux" }, { op: "replace", path: "/baz", value: "boo" })).toEqual({ baz: "boo" });
    expect(at({ a: { b: 1 }, c: {} }, { op: "move", from: "/a/b", path: "/c/d" })).toEqual({
      a: {},
      c: { d: 1 },
    });
    expect(
      at({ foo: ["all", "grass", "cows", "eat"] }, { op: "move", from: "/foo/1", path: "/foo/3" }),
    ).toEqual({
      foo: ["all", "cows", "eat", "grass"],
    });
    expect(at({ "/": 9, "~1": 10 }, { op: "test", path: "/~01", value: 10 })).toEqual({ "/": 9, "~1": 10 });
    expect(at({ foo: ["bar"] }, { op: "add", path: "/foo/-", value: ["abc"] })).toEqual({
      foo: ["bar", ["abc"]],
    });
  });
  test.each([
    [{ op: "test", path: "/a", value: 2 }, /test failed/],
    [{ op: "remove", path: "/b" }, /does not exist/],
    [{ op: "replace", path: "/b", value: 1 }, /does not exist/],
    [{ op: "add", path: "/b/c", value: 1 }, /parent does not exist/],
    [{ op: "add", path: "/l/4", value: 1 }, /beyond the list/],
    [{ op: "add", path: "/l/01", value: 1 }, /no list index/],
    [{ op: "add", path: "a", value: 1 }, /slash/],
    [{ op: "add", path: "/a" }, /needs a value/],
    [{ op: "spin", path: "/a" }, /unexpected kind/],
    [{ op: "move", from: "/l", path: "/l/0" }, /into itself/],
  ])("%j is refused", (operation, message) => {
    expect(() => at({ a: 1, l: [1] }, operation)).toThrow(message);
    expect(() => at({ a: 1, l: [1] }, operation)).toThrow(SchemaError);
  });
  test("the given object stays as it is", () => {
    const object = { a: { b: 1 } };
    at(object, { op: "replace", path: "/a/b", value: 2 });
    expect(object).toEqual({ a: { b: 1 } });
  });
});

test("merge patch: the example of RFC 7386", () => {
  const object = {
    title: "Goodbye!",
    author: { givenName: "John", familyName: "Doe" },
    tags: ["a", "b"],
    content: "c",
  };
  const patch = { title: "Hello!", phoneNumber: "1", author: { familyName: null }, tags: ["a"] };
  expect(mergePatch(object, patch)).toEqual({
    title: "Hello!",
    author: { givenName: "John" },
    tags: ["a"],
    content: "c",
    phoneNumber: "1",
  });
  expect(mergePatch({}, { a: { bb: { ccc: null } } })).toEqual({ a: { bb: {} } });
});

describe("strategic merge patch", () => {
  const types = builtinTypes();
  const shape = (group: string, kind: string) => types.get({ group, version: "v1", kind }) as ObjectSchema;
  const pods = shape("", "Pod");
  const pod = (spec: object) => ({ spec });
  const patch = (object: object, change: object) => strategicMergePatch(pods, object, change);

  test("containers merge by name, new ones come last", () => {
    const live = pod({
      containers: [
        { name: "a", image: "1", tty: true },
        { name: "b", image: "1" },
      ],
    });
    expect(
      patch(
        live,
        pod({
          containers: [
            { name: "a", image: "2" },
            { name: "c", image: "3" },
          ],
        }),
      ),
    ).toEqual(
      pod({
        containers: [
          { name: "a", image: "2", tty: true },
          { name: "b", image: "1" },
          { name: "c", image: "3" },
        ],
      }),
    );
  });
  test("$patch: delete removes the item that the key names", () => {
    const live = pod({ containers: [{ name: "a" }, { name: "b" }] });
    expect(patch(live, pod({ containers: [{ name: "a", $patch: "delete" }] }))).toEqual(
      pod({ containers: [{ name: "b" }] }),
    );
  });
  test("$patch: replace replaces a list, and an object", () => {
    const live = pod({ containers: [{ name: "a" }], securityContext: { runAsUser: 1 } });
    expect(patch(live, pod({ containers: [{ name: "b" }, { $patch: "replace" }] }))).toMatchObject(
      pod({ containers: [{ name: "b" }] }),
    );
    expect(patch(live, pod({ securityContext: { $patch: "replace", runAsGroup: 2 } }))).toMatchObject(
      pod({ securityContext: { runAsGroup: 2 } }),
    );
  });
  test("$setElementOrder orders, and the server's own items keep their place", () => {
    const live = pod({ containers: [{ name: "a" }, { name: "own" }, { name: "b" }] });
    const change = pod({
      "$setElementOrder/containers": [{ name: "b" }, { name: "a" }],
      containers: [{ name: "b", image: "x" }],
    });
    expect(patch(live, change)).toEqual(
      pod({ containers: [{ name: "own" }, { name: "b", image: "x" }, { name: "a" }] }),
    );
  });
  test("$retainKeys drops the other fields of a union", () => {
    const live = pod({ volumes: [{ name: "v", emptyDir: {} }] });
    const change = pod({
      volumes: [{ name: "v", $retainKeys: ["name", "hostPath"], hostPath: { path: "/x" } }],
    });
    expect(patch(live, change)).toEqual(pod({ volumes: [{ name: "v", hostPath: { path: "/x" } }] }));
  });
  test("finalizers merge as a set, $deleteFromPrimitiveList removes", () => {
    const live = { metadata: { finalizers: ["a", "b"] } };
    expect(patch(live, { metadata: { finalizers: ["b", "c"] } })).toEqual({
      metadata: { finalizers: ["a", "b", "c"] },
    });
    expect(patch(live, { metadata: { "$deleteFromPrimitiveList/finalizers": ["a"] } })).toEqual({
      metadata: { finalizers: ["b"] },
    });
  });
  test("lists without a merge key are replaced, null removes", () => {
    const live = pod({ tolerations: [{ key: "a" }], nodeSelector: { x: "1", y: "2" } });
    expect(patch(live, pod({ tolerations: [{ key: "b" }], nodeSelector: { x: null } }))).toEqual(
      pod({ tolerations: [{ key: "b" }], nodeSelector: { y: "2" } }),
    );
  });
  test("service ports merge by port", () => {
    const services = shape("", "Service");
    const live = pod({ ports: [{ port: 80, nodePort: 30000 }] });
    expect(strategicMergePatch(services, live, pod({ ports: [{ port: 80, name: "http" }] }))).toEqual(
      pod({ ports: [{ port: 80, nodePort: 30000, name: "http" }] }),
    );
  });
  test("an item without its merge key and an unknown directive are refused", () => {
    expect(() => patch(pod({}), pod({ containers: [{ image: "x" }] }))).toThrow(
      /does not contain declared merge key: name/,
    );
    expect(() => patch(pod({}), pod({ $patch: "shuffle" }))).toThrow(/unknown patch type/);
  });
});
