/** Colours, where they are wanted (https://no-color.org, FORCE_COLOR, TERM=dumb). */

export interface Style {
  enabled: boolean;
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  /** One of a few well-told-apart colours. */
  palette(index: number, text: string): string;
}

const paletteCodes = [36, 33, 35, 32, 34, 96, 93, 95, 92, 94];

export function createStyle(enabled: boolean): Style {
  const paint = (code: number, end: number) => (text: string) =>
    enabled ? `\u001b[${code}m${text}\u001b[${end}m` : text;
  return {
    enabled,
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
    palette: (index, text) => paint(paletteCodes[index % paletteCodes.length] ?? 36, 39)(text),
  };
}

/** NO_COLOR and --no-color win, then FORCE_COLOR, then what the stream is. */
export function wantsColor(env: NodeJS.ProcessEnv, isTTY: boolean, noColor = false): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = env;
  if (noColor || (NO_COLOR !== undefined && NO_COLOR !== "")) return false;
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== "0" && FORCE_COLOR !== "false";
  return isTTY && TERM !== "dumb";
}

// Escape sequences (CSI and OSC of ECMA-48), then every control character but tab and line feed. Written as text, because a
// literal expression may not hold control characters.
const unprintable = new RegExp(
  String.raw`\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]`,
  "g",
);

/** Text from elsewhere, fit for a terminal: without escape sequences and other control characters. */
export function printable(text: string): string {
  return text.replaceAll(unprintable, "");
}
