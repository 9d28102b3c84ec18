/**
 * Reads the protobuf form of API objects (`application/vnd.kubernetes.protobuf`) into the JSON form. The envelope is
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding: `k8s\0`, then a `runtime.Unknown`. Only reading
 * is needed: clients that send protobuf accept JSON answers.
 */
import { type KubeObject, parseApiVersion } from "@kws/kube/object";
import { SchemaError } from "./error.ts";
import { type Json, put } from "./json.ts";
import { formatDuration, formatTime } from "./time.ts";
import type { TypeRegistry } from "./registry.ts";
import type { AnySchema, FieldSchema, ListSchema, MapSchema, ObjectSchema, TypeSchema } from "./types.ts";
import { WireReader } from "./wire.ts";

const maximumDepth = 100;

/** How one field number of a message is read: a field, or an embedded struct. */
type Entry = { name: string; field: FieldSchema } | { inlined: ObjectSchema };

const entriesOf = new WeakMap<ObjectSchema, Map<number, Entry>>();

/** Throws `SchemaError` when the body is no such object, cut short, nested too deeply or of a kind without a shape. */
export function decodeProtobuf(body: Uint8Array, types: TypeRegistry): KubeObject {
  return decodeEnvelope(body, types, 0);
}

function isEnvelope(body: Uint8Array): boolean {
  return body[0] === 0x6b && body[1] === 0x38 && body[2] === 0x73 && body[3] === 0x00;
}

function decodeEnvelope(body: Uint8Array, types: TypeRegistry, depth: number): KubeObject {
  if (!isEnvelope(body)) {
    throw new SchemaError("the body does not start with the prefix of the Kubernetes protobuf encoding");
  }
  if (depth > maximumDepth) throw new SchemaError("the body is nested too deeply");
  const reader = new WireReader(body.subarray(4));
  let [apiVersion, kind, contentType, contentEncoding] = ["", "", "", ""];
  let raw = new Uint8Array(0);
  while (reader.next()) {
    if (reader.number === 1) {
      const meta = new WireReader(reader.bytes());
      while (meta.next()) {
        if (meta.number === 1) apiVersion = meta.string();
        else if (meta.number === 2) kind = meta.string();
        else meta.skip();
      }
    } else if (reader.number === 2) raw = reader.bytes();
    else if (reader.number === 3) contentEncoding = reader.string();
    else if (reader.number === 4) contentType = reader.string();
    else reader.skip();
  }
  if (contentEncoding !== "") throw new SchemaError(`content encoding "${contentEncoding}" is not supported`);
  if (contentType === "application/json")
    return Object.assign({ apiVersion, kind }, parseJson(raw)) as KubeObject;
  if (contentType !== "" && contentType !== "application/vnd.kubernetes.protobuf") {
    throw new SchemaError(`content type "${contentType}" inside a protobuf body is not supported`);
  }
  const schema = types.get({ ...parseApiVersion(apiVersion), kind });
  if (schema === undefined)
    throw new SchemaError(`no kind "${kind}" is registered for version "${apiVersion}"`);
  const object = { apiVersion, kind, metadata: {} } as KubeObject;
  if (!schema.fields.has("metadata")) delete (object as Json)["metadata"];
  decodeMessage(schema, raw, object, { types, depth });
  return object;
}

interface Context {
  types: TypeRegistry;
  depth: number;
}

function entries(schema: ObjectSchema): Map<number, Entry> {
  let table = entriesOf.get(schema);
  if (table === undefined) {
    table = new Map();
    for (const [name, field] of schema.fields) {
      if (field.number !== undefined) table.set(field.number, { name, field });
    }
    for (const { number, schema: inlined } of schema.inlined ?? []) table.set(number, { inlined });
    entriesOf.set(schema, table);
  }
  return table;
}

function decodeMessage(schema: ObjectSchema, body: Uint8Array, into: Json, context: Context): void {
  if (context.depth > maximumDepth) throw new SchemaError("the body is nested too deeply");
  const table = entries(schema);
  const reader = new WireReader(body);
  const inner = { ...context, depth: context.depth + 1 };
  while (reader.next()) {
    const entry = table.get(reader.number);
    if (entry === undefined) reader.skip();
    else if ("inlined" in entry) decodeMessage(entry.inlined, reader.bytes(), into, inner);
    else decodeField(entry.name, entry.field, reader, into, inner);
  }
}

function decodeField(
  name: string,
  field: FieldSchema,
  reader: WireReader,
  into: Json,
  context: Context,
): void {
  const { schema } = field;
  const present = Object.hasOwn(into, name) ? into[name] : undefined;
  switch (schema.type) {
    case "object": {
      // A message that appears twice is merged.
      const target = (present ?? {}) as Json;
      decodeMessage(schema, reader.bytes(), target, context);
      put(into, name, target);
      return;
    }
    case "map": {
      const target = (present ?? {}) as Json;
      decodeMapEntry(schema, reader.bytes(), target, context);
      put(into, name, target);
      return;
    }
    case "list":
      put(into, name, decodeItems(schema, reader, (present ?? []) as unknown[], context));
      return;
    default: {
      const value = decodeValue(schema, reader, context);
      if (value === undefined) return;
      const zero = value === "" || value === 0 || value === false;
      if (zero && field.omitEmpty === true && field.pointer !== true && !isUnion(schema)) delete into[name];
      else put(into, name, value);
    }
  }
}

/** Quantities and int-or-strings are structs in Go, which JSON never leaves out. */
function isUnion(schema: TypeSchema): boolean {
  return schema.type === "string" && (schema.format === "int-or-string" || schema.format === "quantity");
}

function decodeItems(schema: ListSchema, reader: WireReader, list: unknown[], context: Context): unknown[] {
  if (schema.wrapped === true) {
    const items = new WireReader(reader.bytes());
    while (items.next()) {
      if (items.number === 1) list.push(decodeValue(schema.items, items, context));
      else items.skip();
    }
    return list;
  }
  const packable = schema.items.type === "integer" || schema.items.type === "boolean";
  if (packable && reader.wireType === 2) {
    const packed = new WireReader(reader.bytes());
    while (!packed.done)
      list.push(schema.items.type === "boolean" ? packed.bareVarint() !== 0 : packed.bareVarint());
    return list;
  }
  list.push(decodeValue(schema.items, reader, context) ?? null);
  return list;
}

function decodeMapEntry(schema: MapSchema, body: Uint8Array, into: Json, context: Context): void {
  const reader = new WireReader(body);
  let key = "";
  let value: unknown;
  while (reader.next()) {
    if (reader.number === 1) key = reader.string();
    else if (reader.number === 2) value = decodeValue(schema.values, reader, context);
    else reader.skip();
  }
  put(into, key, value ?? zeroOf(schema.values));
}

function zeroOf(schema: TypeSchema): unknown {
  switch (schema.type) {
    case "string":
      return schema.format === "quantity" ? "0" : "";
    case "boolean":
      return false;
    case "integer":
    case "number":
      return 0;
    case "list":
      return [];
    case "any":
      return null;
    case "map":
    case "object":
      return {};
  }
}

/** One value; undefined for a time that is not set. */
function decodeValue(schema: TypeSchema, reader: WireReader, context: Context): unknown {
  switch (schema.type) {
    case "boolean":
      return reader.varint() !== 0;
    case "integer":
      return reader.varint();
    case "number":
      return reader.double();
    case "string":
      return decodeString(schema.format, reader);
    case "any":
      return decodeAny(schema, reader.bytes(), context);
    case "list":
      return decodeItems(schema, reader, [], context);
    case "map":
      throw new SchemaError("a map cannot stand inside a list or a map");
    case "object": {
      const object: Json = {};
      decodeMessage(schema, reader.bytes(), object, context);
      return object;
    }
  }
}

function decodeString(format: string | undefined, reader: WireReader): string | number | undefined {
  switch (format) {
    case "byte": {
      const bytes = reader.bytes();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
    }
    case "quantity": {
      const text = new WireReader(reader.bytes()).fields()[1];
      return text instanceof Uint8Array && text.length > 0 ? Buffer.from(text).toString("utf8") : "0";
    }
    case "int-or-string": {
      const { 1: type = 0, 2: number = 0, 3: text } = new WireReader(reader.bytes()).fields();
      if (type !== 0) return text instanceof Uint8Array ? Buffer.from(text).toString("utf8") : "";
      if (typeof number !== "number") throw new SchemaError("an int-or-string holds bytes for its number");
      return number | 0;
    }
    case "date-time":
    case "micro-time": {
      const body = reader.bytes();
      if (body.length === 0) return undefined;
      const { 1: seconds = 0, 2: nanos = 0 } = new WireReader(body).fields();
      if (typeof seconds !== "number" || typeof nanos !== "number")
        throw new SchemaError("a time holds bytes");
      return formatTime(seconds, nanos, format === "micro-time");
    }
    case "duration": {
      const { 1: nanos = 0 } = new WireReader(reader.bytes()).fields();
      if (typeof nanos !== "number") throw new SchemaError("a duration holds bytes");
      return formatDuration(nanos);
    }
    default:
      return reader.string();
  }
}

function decodeAny(schema: AnySchema, body: Uint8Array, context: Context): unknown {
  if (schema.wire === "raw" || schema.props === undefined) {
    const raw = new WireReader(body).fields()[1];
    if (!(raw instanceof Uint8Array) || raw.length === 0) return undefined;
    return isEnvelope(raw) ? decodeEnvelope(raw, context.types, context.depth + 1) : parseJson(raw);
  }
  const reader = new WireReader(body);
  const props = schema.props();
  const schemas: Json[] = [];
  const strings: string[] = [];
  let single: Json | undefined;
  let allows = false;
  while (reader.next()) {
    if (schema.wire === "props-or-bool" && reader.number === 1) allows = reader.varint() !== 0;
    else if (reader.number === (schema.wire === "props-or-bool" ? 2 : 1)) {
      decodeMessage(props, reader.bytes(), (single ??= {}), context);
    } else if (reader.number === 2 && schema.wire === "props-or-array") {
      const item: Json = {};
      decodeMessage(props, reader.bytes(), item, context);
      schemas.push(item);
    } else if (reader.number === 2) strings.push(reader.string());
    else reader.skip();
  }
  if (single !== undefined) return single;
  if (schema.wire === "props-or-bool") return allows;
  return schema.wire === "props-or-array" ? schemas : strings;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch (error) {
    throw new SchemaError("a raw value inside the protobuf body is not JSON", { cause: error });
  }
}
