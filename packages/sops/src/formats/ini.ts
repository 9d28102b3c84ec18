import type { Format } from "./format.ts";
export const ini: Format = { name: "ini", layout: "flat-section", parse: () => [], emit: () => "" };
