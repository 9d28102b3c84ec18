/** What the text interface of `kws service up` shows, as data: how events and keys change it. */
import { formatAge } from "@kws/base/duration";
import type { DevEvent } from "@kws/platform/dev/events";
import { listed } from "../developing.ts";
import { printable } from "../style.ts";
import type { Usage } from "./usage.ts";

export interface Row {
  service: string;
  state: string;
  ready: boolean;
  pod: string | undefined;
  /** The last thing that happened, and when, in milliseconds since the epoch. */
  last: { what: string; at: number } | undefined;
  /** Cores and bytes; undefined where the cluster does not measure them. */
  usage: Usage | undefined;
  debug: { language: string; address?: string; files: string[] } | undefined;
}

export interface LogEntry {
  service: string;
  text: string;
  kind: "log" | "told" | "problem";
}

export interface Board {
  rows: Row[];
  /** Of the rows. */
  selected: number;
  /** Log lines, the oldest first. */
  log: LogEntry[];
  /** How many lines were ever added: `log` has the last of them. */
  added: number;
  /** Logs of the selected service alone. */
  filtered: boolean;
  /** What `added` was where following stopped, less what was scrolled back; undefined while the newest lines are shown. */
  until: number | undefined;
  panel: "debug" | "help" | undefined;
}

/** So much of the logs is kept, of all services together. */
export const keptLines = 5000;

export function createBoard(services: string[]): Board {
  return {
    rows: services.map((service) => ({
      service,
      state: "starting",
      ready: false,
      pod: undefined,
      last: undefined,
      usage: undefined,
      debug: undefined,
    })),
    selected: 0,
    log: [],
    added: 0,
    filtered: false,
    until: undefined,
    panel: undefined,
  };
}

export function applyEvent(board: Board, event: DevEvent, now: number): void {
  const { service } = event;
  const row = board.rows.find((one) => one.service === service);
  if (row === undefined) return;
  switch (event.kind) {
    case "log":
      append(board, { service, text: event.text, kind: "log" });
      return;
    case "state":
      row.state = event.state === "ended" ? `exit ${event.exitCode ?? "?"}` : event.state;
      row.ready = event.ready;
      row.pod = event.pod;
      return;
    case "change":
      row.last = { what: `${event.action}: ${listed(event.paths)}`, at: now };
      append(board, { service, text: row.last.what, kind: "told" });
      return;
    case "debug":
      row.debug = event;
      return;
    case "note":
      append(board, { service, text: event.message, kind: "told" });
      return;
    case "problem": {
      row.last = { what: "error", at: now };
      const text = `error: ${event.message}${event.fix === undefined ? "" : ` fix: ${event.fix}`}`;
      for (const line of text.split("\n")) append(board, { service, text: line, kind: "problem" });
    }
  }
}

function append(board: Board, entry: LogEntry): void {
  board.log.push({ ...entry, text: printable(entry.text).replaceAll("\t", "    ") });
  board.added++;
  // In one go now and then, since each time costs as much as there are lines.
  if (board.log.length > keptLines + 500) board.log.splice(0, board.log.length - keptLines);
}

/** The lines to choose from, the oldest first; those that came after following stopped are left out. */
export function visibleLog(board: Board): LogEntry[] {
  const { log, added, until, filtered } = board;
  const upTo = until === undefined ? log : log.slice(0, Math.max(0, log.length - (added - until)));
  const service = board.rows[board.selected]?.service;
  return filtered ? upTo.filter((entry) => entry.service === service) : upTo;
}

/** What a key asks of others than the board itself. */
export type Wish = "restart" | "open" | "quit" | "suspend" | "redraw";

export interface Key {
  name?: string;
  ctrl?: boolean;
  shift?: boolean;
  /** The character. */
  sequence?: string;
}

/** `page`: how many log lines fit. */
export function applyKey(board: Board, key: Key, page: number): Wish | undefined {
  const { name, ctrl = false } = key;
  if (ctrl) {
    return name === "c" ? "quit" : name === "z" ? "suspend" : name === "l" ? "redraw" : undefined;
  }
  if (key.sequence === "?") {
    board.panel = board.panel === "help" ? undefined : "help";
    return undefined;
  }
  const count = board.rows.length;
  switch (name) {
    case "q":
      return "quit";
    case "r":
      return "restart";
    case "o":
      return "open";
    case "up":
    case "k":
      board.selected = (board.selected + count - 1) % count;
      return undefined;
    case "down":
    case "j":
      board.selected = (board.selected + 1) % count;
      return undefined;
    case "tab":
      board.selected = (board.selected + (key.shift === true ? count - 1 : 1)) % count;
      return undefined;
    case "l":
      board.filtered = !board.filtered;
      return undefined;
    case "d":
      board.panel = board.panel === "debug" ? undefined : "debug";
      return undefined;
    case "s":
    case "space":
      board.until = board.until === undefined ? board.added : undefined;
      return undefined;
    case "pageup":
      board.until = Math.max(board.added - board.log.length + page, (board.until ?? board.added) - page);
      return undefined;
    case "pagedown":
      board.until = board.until === undefined ? undefined : board.until + page;
      if (board.until !== undefined && board.until >= board.added) board.until = undefined;
      return undefined;
    case "end":
      board.until = undefined;
      return undefined;
    case "escape":
      board.panel = undefined;
      return undefined;
    default:
      return undefined;
  }
}

export function ageOf(at: number, now: number): string {
  return formatAge(Math.max(0, now - at));
}
