import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { builtinTypes, decodeProtobuf, SchemaError } from "./index.ts";

const types = builtinTypes();
const folder = join(import.meta.dirname, "testdata/protobuf");

/** An encoder of its own, so that the reader is not tested against its own mistakes. */
function varint(value: bigint | number): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return [...out, Number(rest)];
}
const int = (number: number, value: bigint | number) => [...varint(number * 8), ...varint(value)];
const bytes = (number: number, value: number[] | string) => {
  const body = typeof value === "string" ? [...Buffer.from(value)] : value;
  return [...varint(number * 8 + 2), ...varint(body.length), ...body];
};
const envelope = (apiVersion: string, kind: string, raw: number[]) =>
  Uint8Array.from([
    ...Buffer.from("k8s\0"),
    ...bytes(1, [...bytes(1, apiVersion), ...bytes(2, kind)]),
    ...bytes(2, raw),
  ]);
const decode = (apiVersion: string, kind: string, raw: number[]) =>
  decodeProtobuf(envelope(apiVersion, kind, raw), types);

/** kubectl prints null for some unset fields; this reader leaves them out. */
function withoutNulls(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, item: unknown) => (item === null ? undefined : item)));
}

describe("bodies that kubectl sent", () => {
  const cases = readdirSync(folder).filter((file) => file.endsWith(".pb"));
  test.each(cases)("%s reads as what kubectl prints", (file) => {
    const body = readFileSync(join(folder, file));
    const expected: unknown = JSON.parse(readFileSync(join(folder, file.replace(".pb", ".json")), "utf8"));
    const decoded = decodeProtobuf(body, types);
    // kubectl sends the namespace, but does not print it everywhere.
    delete decoded.metadata.namespace;
    const plain = withoutNulls(expected) as { metadata: { namespace?: string } };
    delete plain.metadata.namespace;
    expect(decoded).toEqual(plain);
  });

  test.each(cases)("%s cut anywhere is refused or reads as a shorter object, and never crashes", (file) => {
    const body = readFileSync(join(folder, file));
    const failures: unknown[] = [];
    for (let length = 0; length < body.length; length += 1) {
      try {
        decodeProtobuf(body.subarray(0, length), types);
      } catch (error) {
        failures.push(error);
      }
    }
    expect(failures.length).toBeGreaterThan(body.length / 2);
    expect(failures.filter((error) => !(error instanceof SchemaError))).toEqual([]);
  });
});

describe("values", () => {
  const meta = (fields: number[]) => decode("v1", "ConfigMap", bytes(1, fields)).metadata;

  test("an int64 keeps its sign", () => {
    expect(decode("apps/v1", "ControllerRevision", int(3, -7))).toMatchObject({ revision: -7 });
    expect(decode("apps/v1", "ControllerRevision", int(3, 2n ** 40n))).toMatchObject({ revision: 2 ** 40 });
  });
  test("times are RFC 3339 in UTC, and the zero time is absent", () => {
    expect(meta(bytes(8, [...int(1, 1_700_000_000), ...int(2, 5)]))).toEqual({
      creationTimestamp: "2023-11-14T22:13:20Z",
    });
    expect(meta(bytes(8, []))).toEqual({});
    expect(meta(bytes(8, [...int(1, -62135596800n)]))).toEqual({});
  });
  test("micro times have six digits", () => {
    const spec = bytes(4, [...int(1, 1_700_000_000), ...int(2, 1_234_567)]);
    expect(decode("coordination.k8s.io/v1", "Lease", bytes(2, spec))).toMatchObject({
      spec: { renewTime: "2023-11-14T22:13:20.001234Z" },
    });
  });
  test("bytes become base64, also inside maps", () => {
    const entry = [...bytes(1, "key"), ...bytes(2, [0xff, 0x00])];
    expect(decode("v1", "Secret", bytes(2, entry))).toMatchObject({ data: { key: "/wA=" } });
  });
  test("a map entry without a value holds the zero value", () => {
    expect(decode("v1", "ConfigMap", bytes(2, bytes(1, "empty")))).toMatchObject({ data: { empty: "" } });
  });
  test("a key called __proto__ is data", () => {
    const data = decode("v1", "ConfigMap", bytes(2, [...bytes(1, "__proto__"), ...bytes(2, "x")])).data;
    expect(Object.keys(data)).toEqual(["__proto__"]);
  });
  test("raw extensions are the JSON inside", () => {
    const raw = bytes(1, '{"a":[1,{"b":null}]}');
    expect(decode("apps/v1", "ControllerRevision", bytes(2, raw))).toMatchObject({
      data: { a: [1, { b: null }] },
    });
  });
  test("field sets are the JSON inside", () => {
    const entry = [...bytes(1, "helm"), ...bytes(7, bytes(1, '{"f:data":{}}'))];
    expect(meta(bytes(17, entry))).toEqual({
      managedFields: [{ manager: "helm", fieldsV1: { "f:data": {} } }],
    });
  });
  test("a pointer keeps its zero, a plain value that JSON omits does not", () => {
    const spec = [...int(1, 0), ...int(5, 0)];
    expect(decode("apps/v1", "Deployment", bytes(2, spec))).toMatchObject({ spec: { replicas: 0 } });
    expect(decode("apps/v1", "Deployment", bytes(2, spec)).spec).not.toHaveProperty("minReadySeconds");
  });
  test("a CustomResourceDefinition's schema reads its unions", () => {
    const props = (fields: number[]) => bytes(1, fields);
    const schema = [
      ...bytes(5, "object"),
      ...bytes(29, [
        ...bytes(1, "list"),
        ...bytes(2, [...bytes(5, "array"), ...bytes(24, props(bytes(5, "string")))]),
      ]),
      ...bytes(30, [...int(1, 1)]),
      ...bytes(8, bytes(1, '{"x":1}')),
    ];
    const version = [...bytes(1, "v1"), ...bytes(4, bytes(1, schema))];
    const crd = decode("apiextensions.k8s.io/v1", "CustomResourceDefinition", bytes(2, bytes(7, version)));
    expect(crd.spec.versions[0].schema.openAPIV3Schema).toEqual({
      type: "object",
      properties: { list: { type: "array", items: { type: "string" } } },
      additionalProperties: true,
      default: { x: 1 },
    });
  });
  test("fields of a newer version are skipped", () => {
    const raw = [...int(900, 5), ...bytes(901, "x"), ...bytes(2, [...bytes(1, "a"), ...bytes(2, "b")])];
    expect(decode("v1", "ConfigMap", raw)).toMatchObject({ data: { a: "b" } });
  });
});

describe("hostile bodies", () => {
  test("without the prefix", () => {
    expect(() => decodeProtobuf(Buffer.from("{}"), types)).toThrow(/prefix/);
  });
  test("of an unknown kind", () => {
    expect(() => decode("example.com/v1", "Widget", [])).toThrow(
      /no kind "Widget" is registered for version "example.com\/v1"/,
    );
  });
  test("with a length beyond the end, or beyond all sense", () => {
    expect(() => decode("v1", "ConfigMap", [0x0a, 0x7f])).toThrow(SchemaError);
    expect(() => decode("v1", "ConfigMap", [0x0a, ...varint(2n ** 63n)])).toThrow(SchemaError);
  });
  test("with groups, which nothing sends", () => {
    expect(() => decode("v1", "ConfigMap", [0x0b])).toThrow(/wire type 3/);
  });
  test("nested a thousand deep", () => {
    let schema = bytes(5, "object");
    for (let depth = 0; depth < 1000; depth += 1) schema = bytes(28, schema);
    const version = [...bytes(1, "v1"), ...bytes(4, bytes(1, schema))];
    expect(() =>
      decode("apiextensions.k8s.io/v1", "CustomResourceDefinition", bytes(2, bytes(7, version))),
    ).toThrow(/nested too deeply/);
  });
});
