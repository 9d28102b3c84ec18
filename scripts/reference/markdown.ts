/** Markdown as oxfmt would leave it. */

/** A table whose columns are as wide as their widest cell. */
export function table(columns: string[], rows: string[][]): string {
  const cells = [columns, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = columns.map((_, index) => Math.max(3, ...cells.map((row) => (row[index] ?? "").length)));
  const line = (row: string[]) =>
    `| ${widths.map((width, index) => (row[index] ?? "").padEnd(width)).join(" | ")} |`;
  const [head = [], ...body] = cells;
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...body.map(line)].join(
    "\n",
  );
}
