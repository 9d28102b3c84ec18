/** Scalars in formats that know nothing but text. */
import { general } from "../numbers.ts";
import type { Scalar } from "../tree.ts";

/** As sops writes them to dotenv and INI files: a float stays one, null is Go's word for it. */
export function textOfScalar(scalar: Scalar): string {
  switch (scalar.kind) {
    case "null":
      return "<nil>";
    case "bytes":
      return Buffer.from(scalar.value).toString();
    case "float": {
      const text = general(scalar.value).toUpperCase();
      return /^-?\d+$/.test(text) ? `${text}.0` : text;
    }
    default:
      return String(scalar.value);
  }
}
