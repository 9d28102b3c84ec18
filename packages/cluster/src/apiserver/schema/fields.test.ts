import { describe, expect, test } from "vitest";
import {
  applyDefaults,
  builtinTypes,
  checkFields,
  normalize,
  parseObject,
  prune,
  SchemaError,
  structuralSchema,
  validateStructural,
} from "./index.ts";
import type { ObjectSchema } from "./types.ts";

const types = builtinTypes();
const deployments = types.get({ group: "apps", version: "v1", kind: "Deployment" }) as ObjectSchema;

describe("bodies", () => {
  test("duplicate keys of JSON are found with their paths", () => {
    const { object, duplicates } = parseObject(
      '{"a":{"b":1,"b":2,"c":[{"x":1,"\\u0078":2}]},"s":"\\"}{,","a":3}',
      "json",
    );
    expect(object).toEqual({ a: 3, s: '"}{,' });
    expect(duplicates).toEqual(["a.b", "a.c[0].x", "a"]);
  });
  test("duplicate keys of YAML too", () => {
    expect(parseObject("a: 1\nb: {c: 2, c: 3}\nl: [{a: 1, a: 2}]\na: 4", "yaml").duplicates).toEqual([
      "b.c",
      "l[0].a",
      "a",
    ]);
  });
  test("YAML reads as Kubernetes reads it", () => {
    expect(
      parseObject(
        "on: yes\nday: 2020-01-01\ntime: 12:30\nmode: 0644\nbase: &b {x: 1}\nmore: {<<: *b}",
        "yaml",
      ).object,
    ).toEqual({
      on: true,
      day: "2020-01-01",
      time: "12:30",
      mode: 420,
      base: { x: 1 },
      more: { x: 1 },
    });
  });
  test("JSON under a YAML content type is read as JSON", () => {
    expect(parseObject(' {"a": "1:30"}', "yaml").object).toEqual({ a: "1:30" });
  });
  test("a bomb of aliases is refused", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let n = 1; n < 9; n += 1)
      lines.push(`a${n}: &a${n} [${Array.from({ length: 10 }, () => `*a${n - 1}`).join(", ")}]`);
    expect(() => parseObject(lines.join("\n"), "yaml")).toThrow(SchemaError);
  });
  test("what is neither, or nested beyond reason, is refused", () => {
    expect(() => parseObject("{", "json")).toThrow(/invalid JSON/);
    expect(() => parseObject("a: [", "yaml")).toThrow(/invalid YAML/);
    expect(() => parseObject(`${"[".repeat(5000)}${"]".repeat(5000)}`, "json")).toThrow(/maximum depth/);
  });
});

describe("built-in shapes", () => {
  test("unknown fields and wrong types are named", () => {
    const object = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      spec: {
        replicas: "2",
        foo: 1,
        template: { spec: { containers: [{ name: "a", imagee: "x", ports: {} }] } },
      },
    };
    const { unknown, errors } = checkFields(deployments, object);
    expect(unknown).toEqual(["spec.foo", "spec.template.spec.containers[0].imagee"]);
    expect(errors.map(({ message }) => message)).toEqual([
      "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
      "json: cannot unmarshal object into Go struct field Container.spec.template.spec.containers.ports of type []v1.ContainerPort",
    ]);
  });
  test("fields of embedded structs, int-or-strings and nulls are fine", () => {
    const spec = {
      strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: "25%" } },
      template: {
        metadata: { creationTimestamp: null },
        spec: {
          volumes: [{ name: "v", emptyDir: {} }],
          containers: [
            { name: "a", livenessProbe: { httpGet: { port: "http" } }, resources: { limits: { cpu: 1 } } },
          ],
        },
      },
    };
    expect(checkFields(deployments, { spec })).toEqual({ unknown: [], errors: [] });
  });
  test("pruning leaves what the shape knows", () => {
    const object = {
      spec: { foo: 1, replicas: 1, template: { spec: { containers: [{ name: "a", bar: 1 }] } } },
    };
    prune(deployments, object);
    expect(object).toEqual({ spec: { replicas: 1, template: { spec: { containers: [{ name: "a" }] } } } });
  });
  test("the normal form has no nulls and no zero values that Go omits", () => {
    const object = {
      metadata: { labels: {}, creationTimestamp: null, annotations: { a: "" } },
      spec: {
        replicas: 0,
        minReadySeconds: 0,
        paused: false,
        template: {
          spec: { nodeName: "", containers: [{ name: "a", image: "", resources: { limits: { cpu: 1 } } }] },
        },
      },
    };
    normalize(deployments, object);
    expect(object).toEqual({
      metadata: { annotations: { a: "" } },
      spec: {
        replicas: 0,
        template: { spec: { containers: [{ name: "a", resources: { limits: { cpu: "1" } } }] } },
      },
    });
  });
});

describe("custom resources", () => {
  const source = {
    type: "object",
    required: ["spec"],
    properties: {
      spec: {
        type: "object",
        required: ["size"],
        properties: {
          size: { type: "integer", minimum: 1, maximum: 5, default: 3, format: "int32" },
          mode: { type: "string", enum: ["a", "b"] },
          name: { type: "string", pattern: "^[a-z]+$", minLength: 2, maxLength: 3 },
          at: { type: "string", format: "date-time" },
          port: { "x-kubernetes-int-or-string": true, anyOf: [{ type: "integer" }, { type: "string" }] },
          note: { type: "string", nullable: true, default: "x" },
          free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
          labels: { type: "object", additionalProperties: { type: "string" } },
          items: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            items: {
              type: "object",
              properties: { id: { type: "string" }, on: { type: "boolean", default: true } },
            },
          },
          pod: {
            type: "object",
            "x-kubernetes-embedded-resource": true,
            properties: { spec: { type: "object" } },
          },
        },
      },
    },
  };
  const schema = structuralSchema(source);
  const messages = (spec: object) =>
    validateStructural(source, { spec }).map(({ field, message }) => `${field}: ${message}`);

  test("unknown fields go, except where they are kept", () => {
    const object = {
      apiVersion: "example.com/v1",
      kind: "Widget",
      metadata: { name: "w", bogus: 1 },
      spec: {
        x: 1,
        free: { any: { thing: 1 } },
        labels: { a: "b" },
        pod: { apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, z: 1 },
      },
    };
    expect(checkFields(schema, object).unknown).toEqual(["metadata.bogus", "spec.x", "spec.pod.z"]);
    prune(schema, object);
    expect(object.spec).toEqual({
      free: { any: { thing: 1 } },
      labels: { a: "b" },
      pod: { apiVersion: "v1", kind: "Pod", metadata: { name: "p" } },
    });
  });
  test("defaults fill in, a null only where it is not allowed", () => {
    const object = { spec: { size: null, note: null, items: [{ id: "a" }] } };
    applyDefaults(schema, object);
    expect(object).toEqual({ spec: { size: 3, note: null, items: [{ id: "a", on: true }] } });
  });
  test("each keyword is enforced in upstream's words", () => {
    expect(messages({})).toEqual(["spec.size: Required value"]);
    expect(messages({ size: "x" })).toEqual([
      'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
    ]);
    expect(messages({ size: 9 })).toEqual([
      "spec.size: Invalid value: 9: spec.size in body should be less than or equal to 5",
    ]);
    expect(messages({ size: 1, mode: "c" })).toEqual([
      'spec.mode: Unsupported value: "c": supported values: "a", "b"',
    ]);
    expect(messages({ size: 1, name: "A" })).toEqual([
      'spec.name: Invalid value: "A": spec.name in body should be at least 2 chars long',
      "spec.name: Invalid value: \"A\": spec.name in body should match '^[a-z]+$'",
    ]);
    expect(messages({ size: 1, at: "tomorrow" })).toEqual([
      'spec.at: Invalid value: "tomorrow": spec.at in body must be of type date-time: "tomorrow"',
    ]);
    expect(messages({ size: 1, items: [{ id: "a" }, { id: "a" }] })).toEqual([
      'spec.items[1]: Duplicate value: {"id":"a"}',
    ]);
  });
  test("valid objects pass: int-or-string both ways, lengths in code points", () => {
    expect(messages({ size: 1, port: "http" })).toEqual([]);
    expect(messages({ size: 1, port: 80 })).toEqual([]);
    expect(
      validateStructural(
        { type: "object", properties: { e: { type: "string", maxLength: 1 } } },
        { e: "🎈" },
      ),
    ).toEqual([]);
  });
  test("combinations count what fits", () => {
    const either = { oneOf: [{ required: ["a"] }, { required: ["b"] }] };
    expect(validateStructural(either, { a: 1 })).toEqual([]);
    expect(validateStructural(either, { a: 1, b: 1 })[0]?.message).toMatch(
      /one and only one schema \(oneOf\)/,
    );
    expect(validateStructural({ not: { required: ["a"] } }, { a: 1 })[0]?.message).toMatch(
      /must not validate/,
    );
  });
});
