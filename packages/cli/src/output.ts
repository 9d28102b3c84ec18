/** The one place that prints results: a table or text for people, JSON or YAML for programs. */
import type { Result } from "./command.ts";
import type { Output } from "./context.ts";
import type { Style } from "./style.ts";

export async function printResult(
  result: Result,
  format: string,
  stdout: Output,
  style: Style,
): Promise<void> {
  if (format === "json" || format === "yaml") {
    const data = result.data ?? null;
    if (result.data === undefined && result.table === undefined) return;
    if (format === "json") {
      stdout.write(`${JSON.stringify(data, undefined, 2)}\n`);
      return;
    }
    const { stringify } = await import("yaml");
    stdout.write(stringify(data));
    return;
  }
  if (result.table !== undefined) stdout.write(renderTable(result.table.columns, result.table.rows, style));
  if (result.text !== undefined) stdout.write(result.text.endsWith("\n") ? result.text : `${result.text}\n`);
}

/** Columns as wide as their widest cell, two spaces between, none at the end. */
export function renderTable(columns: string[], rows: string[][], style: Style): string {
  const widths = columns.map((column, index) =>
    Math.max(width(column), ...rows.map((row) => width(row[index] ?? ""))),
  );
  const line = (cells: string[]) =>
    cells
      .map((cell, index) =>
        index === cells.length - 1 ? cell : cell + " ".repeat((widths[index] ?? 0) - width(cell)),
      )
      .join("  ")
      .trimEnd();
  const lines = rows.map((row) => line(columns.map((_, index) => row[index] ?? "")));
  return `${[style.bold(line(columns)), ...lines].join("\n")}\n`;
}

function width(text: string): number {
  // oxlint-disable-next-line no-control-regex
  return Array.from(text.replaceAll(/\u001b\[[0-9;]*m/g, "")).length;
}
