/** The failure of everything in this folder: input that does not have the shape or the encoding it claims to have. */

export class SchemaError extends Error {
  override name = "SchemaError";
}
