/** The protobuf wire format: https://protobuf.dev/programming-guides/encoding/. Reads, and never past the end. */
import { SchemaError } from "./error.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export class WireReader {
  readonly #body: Uint8Array;
  #at = 0;
  /** Of the field that `next` moved to. */
  number = 0;
  wireType = 0;

  constructor(body: Uint8Array) {
    this.#body = body;
  }

  get done(): boolean {
    return this.#at >= this.#body.length;
  }

  /** Moves to the next field; false at the end. Its value must then be read or skipped. */
  next(): boolean {
    if (this.done) return false;
    const tag = this.bareVarint();
    this.number = Math.floor(tag / 8);
    this.wireType = tag % 8;
    if (tag < 8 || this.number > 0x1fffffff) throw new SchemaError("the body holds an invalid field number");
    return true;
  }

  varint(): number {
    this.#expect(0);
    return this.bareVarint();
  }

  /** A varint without a tag, as in packed lists: an int64, rounded beyond 2^53. */
  bareVarint(): number {
    let result = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      result |= (byte & 0x7f) << shift;
      if (byte < 0x80) return result;
    }
    let long = BigInt(result);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      long |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(BigInt.asIntN(64, long));
    }
    throw new SchemaError("the body holds a number of more than 64 bits");
  }

  double(): number {
    this.#expect(1);
    const bytes = this.#take(8);
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    this.#expect(2);
    return this.#take(this.bareVarint());
  }

  string(): string {
    return decoder.decode(this.bytes());
  }

  /** The last value of each field: numbers, or bytes. For small messages such as times and quantities. */
  fields(): Record<number, number | Uint8Array> {
    const fields: Record<number, number | Uint8Array> = {};
    while (this.next()) {
      if (this.wireType === 0) fields[this.number] = this.varint();
      else if (this.wireType === 2) fields[this.number] = this.bytes();
      else this.skip();
    }
    return fields;
  }

  skip(): void {
    if (this.wireType === 0) this.bareVarint();
    else if (this.wireType === 1) this.#take(8);
    else if (this.wireType === 2) this.#take(this.bareVarint());
    else if (this.wireType === 5) this.#take(4);
    else throw new SchemaError(`the body holds a field of wire type ${this.wireType}, which is not used`);
  }

  #expect(wireType: number): void {
    if (this.wireType !== wireType) {
      throw new SchemaError(`field ${this.number} has wire type ${this.wireType}, not ${wireType}`);
    }
  }

  #byte(): number {
    const byte = this.#body[this.#at];
    if (byte === undefined) throw new SchemaError("the body ends in the middle of a value");
    this.#at += 1;
    return byte;
  }

  #take(length: number): Uint8Array<ArrayBuffer> {
    if (length < 0 || length > this.#body.length - this.#at) {
      throw new SchemaError("the body ends in the middle of a value");
    }
    const bytes = this.#body.subarray(this.#at, this.#at + length) as Uint8Array<ArrayBuffer>;
    this.#at += length;
    return bytes;
  }
}
