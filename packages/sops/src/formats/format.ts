/** What a file format is to the rest of the package. */
import type { MapNode } from "../tree.ts";

export type FormatName = "yaml" | "json" | "dotenv" | "ini" | "binary";

export interface EmitOptions {
  /** Blanks per level, from `stores` in `.sops.yaml`; the format's own otherwise. */
  indent?: number;
}

export interface Format {
  name: FormatName;
  /**
   * How the `sops` block is laid out: as a map at the end of each document, as one level of flat keys below `sops`, or as
   * flat keys with the prefix `sops_`.
   */
  layout: "nested" | "flat-section" | "flat";
  /** Reads a text into its documents; only YAML has several. Faults are `SopsError`s with their place in `file`. */
  parse(text: string, file: string | undefined): MapNode[];
  emit(documents: readonly MapNode[], options: EmitOptions): string;
}
