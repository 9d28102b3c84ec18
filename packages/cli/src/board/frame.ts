/** The board as lines of a terminal: each exactly fits, whatever is wide in it. */
import widthAndCut from "fast-string-truncated-width";
import type { Style } from "../style.ts";
import { ageOf, type Board, type LogEntry, type Row, visibleLog } from "./board.ts";

export interface Size {
  columns: number;
  rows: number;
}

const keys = "↑↓ select  r restart  l log of one  o open  d debugger  space hold  ? help  q quit";

const help = [
  "↑ ↓ tab     choose a service",
  "r           start its process again",
  "l           logs of the chosen service alone, or of all",
  "o           open it in the browser",
  "d           where its debugger is",
  "space s     stop and go on following the logs",
  "PgUp PgDn   back and forth in the logs; End follows again",
  "q ctrl-c    give all services back and end",
];

/** How many log lines are shown at that size. */
export function logHeight(board: Board, size: Size): number {
  return Math.max(0, size.rows - 2 - tableHeight(board, size) - panelOf(board).length - 1);
}

/** Services get at most half of the screen. */
function tableHeight(board: Board, { rows }: Size): number {
  return Math.max(1, Math.min(board.rows.length, Math.floor(rows / 2) - 1));
}

export function frameOf(board: Board, size: Size, style: Style, now: number): string[] {
  const { columns } = size;
  const width = Math.max(7, ...board.rows.map(({ service }) => service.length));
  const table = tableHeight(board, size);
  const first = Math.min(
    Math.max(0, board.selected - Math.floor(table / 2)),
    Math.max(0, board.rows.length - table),
  );
  const rows = board.rows
    .slice(first, first + table)
    .map((row, index) => rowLine(row, first + index === board.selected, width, { columns, style, now }));
  const chosen = board.rows[board.selected]?.service ?? "";
  const hidden = board.rows.length - table;
  const place = hidden > 0 ? ` (${board.selected + 1} of ${board.rows.length})` : "";
  const lines = visibleLog(board).slice(-Math.max(1, logHeight(board, size)));
  const title = `── ${board.filtered ? chosen : "all services"}${board.until === undefined ? "" : ", not following"} `;
  const frame = [
    style.bold(fit(`  ${"SERVICE".padEnd(width)}  STATE      CPU   MEMORY  LAST CHANGE${place}`, columns)),
    ...rows,
    style.dim(fit(title + "─".repeat(Math.max(0, columns - title.length)), columns)),
    ...panelOf(board).map((line) => fit(line, columns)),
    ...lines.map((entry) => logLine(entry, board, width, { columns, style })),
  ];
  const full = frame.slice(0, Math.max(0, size.rows - 1));
  while (full.length < size.rows - 1) full.push("");
  return [...full, style.dim(fit(keys, columns))];
}

function panelOf(board: Board): string[] {
  if (board.panel === "help") return [...help, ""];
  if (board.panel === undefined) return [];
  const row = board.rows[board.selected];
  const { debug } = row ?? {};
  if (debug === undefined) return ["no debugger: begin with --debug", ""];
  const where = debug.address ?? "in the container";
  return [
    `${row?.service}: ${debug.language}, ${where}`,
    ...debug.files.map((file) => `written: ${file}`),
    "",
  ];
}

function rowLine(
  row: Row,
  selected: boolean,
  width: number,
  { columns, style, now }: { columns: number; style: Style; now: number },
): string {
  const state = row.ready ? "ready" : row.state;
  const color = row.ready ? "green" : state.startsWith("exit") ? "red" : "yellow";
  const cpu = row.usage === undefined ? "–" : row.usage.cpu.toFixed(2);
  const memory = row.usage === undefined ? "–" : `${Math.round(row.usage.memory / 2 ** 20)} MiB`;
  const last = row.last === undefined ? "" : `${row.last.what}, ${ageOf(row.last.at, now)} ago`;
  const name = `${selected ? "›" : " "} ${row.service.padEnd(width)}  `;
  const rest = `${cpu.padStart(5)} ${memory.padStart(8)}  ${last}`;
  const room = Math.max(0, columns - name.length - 9);
  return (
    fit(selected ? style.bold(name) : name, columns) +
    style[color](fit(state.padEnd(9), columns - name.length)) +
    fit(rest, room)
  );
}

function logLine(
  { service, text, kind }: LogEntry,
  board: Board,
  width: number,
  { columns, style }: { columns: number; style: Style },
): string {
  const index = board.rows.findIndex((row) => row.service === service);
  const prefix = board.filtered ? "" : `${service.padEnd(width)} `;
  const body = fit(kind === "told" ? `— ${text}` : text, Math.max(0, columns - prefix.length));
  const painted = kind === "log" ? body : kind === "told" ? style.dim(body) : style.red(body);
  return fit(prefix, columns) === prefix ? style.palette(index, prefix) + painted : fit(prefix, columns);
}

/** Cut to so many columns, with an ellipsis where something is lost. */
function fit(text: string, columns: number): string {
  if (columns <= 0) return "";
  if (widthOf(text) <= columns) return text;
  let cut = "";
  let used = 1;
  for (const { segment } of graphemes.segment(text)) {
    used += widthOf(segment);
    if (used > columns) break;
    cut += segment;
  }
  return `${cut}…`;
}

const graphemes = new Intl.Segmenter();

function widthOf(text: string): number {
  return widthAndCut(text).width;
}
