import truncated from "fast-string-truncated-width";
import { expect, test } from "vitest";
import { createStyle } from "../style.ts";
import { applyEvent, applyKey, type Board, createBoard, keptLines, visibleLog } from "./board.ts";
import { frameOf, logHeight } from "./frame.ts";

const now = Date.parse("2026-01-01T00:00:10Z");
const time = "2026-01-01T00:00:00Z";
const plain = createStyle(false);

function log(board: Board, service: string, ...lines: string[]): void {
  for (const text of lines) applyEvent(board, { service, kind: "log", time, text }, now);
}

const texts = (board: Board) => visibleLog(board).map(({ text }) => text);
const screen = (board: Board, columns = 80, rows = 14) => frameOf(board, { columns, rows }, plain, now);

test("a service's line says how it is, what it uses, and what changed last", () => {
  const board = createBoard(["orders", "payments"]);
  applyEvent(
    board,
    { service: "orders", kind: "state", state: "running", ready: true, pod: "orders-1" },
    now,
  );
  applyEvent(board, { service: "payments", kind: "state", state: "ended", ready: false, exitCode: 3 }, now);
  applyEvent(
    board,
    { service: "orders", kind: "change", paths: ["src/a.js"], action: "restart" },
    now - 5000,
  );
  const [orders] = board.rows;
  if (orders !== undefined) orders.usage = { cpu: 0.5, memory: 64 * 2 ** 20 };
  const [, first, second] = screen(board);
  expect(first).toMatch(/^› orders {4}ready {5}0\.50 {3}64 MiB {2}restart: src\/a\.js, 5s ago$/);
  expect(second).toMatch(/^ {2}payments {2}exit 3 +– +–/);
});

test("logs are of all services or of the chosen one, and stand still while they are not followed", () => {
  const board = createBoard(["a", "b"]);
  log(board, "a", "one");
  log(board, "b", "two");
  expect(texts(board)).toEqual(["one", "two"]);
  applyKey(board, { name: "l" }, 5);
  expect(texts(board)).toEqual(["one"]);
  applyKey(board, { name: "down" }, 5);
  expect(texts(board)).toEqual(["two"]);
  applyKey(board, { name: "space" }, 5);
  log(board, "b", "three");
  expect(texts(board)).toEqual(["two"]);
  expect(screen(board).join("\n")).toContain("── b, not following ─");
  applyKey(board, { name: "s" }, 5);
  expect(texts(board)).toEqual(["two", "three"]);
});

test("pages go back to the first line that is kept, and forth until it follows again", () => {
  const board = createBoard(["a"]);
  log(board, "a", ...Array.from({ length: 25 }, (_, index) => `line ${index}`));
  for (let presses = 0; presses < 5; presses++) applyKey(board, { name: "pageup" }, 10);
  expect(texts(board)).toHaveLength(10);
  applyKey(board, { name: "pagedown" }, 10);
  expect(texts(board)).toHaveLength(20);
  applyKey(board, { name: "pagedown" }, 10);
  expect(board.until).toBeUndefined();
});

test("what is kept of the logs has a bound", () => {
  const board = createBoard(["a"]);
  log(board, "a", ...Array.from({ length: keptLines * 3 }, (_, index) => `line ${index}`));
  expect(board.log.length).toBeLessThanOrEqual(keptLines + 500);
  expect(board.log.at(-1)?.text).toBe(`line ${keptLines * 3 - 1}`);
});

test.each([
  [1, 80, 24],
  [3, 40, 8],
  [30, 100, 20],
  [30, 12, 5],
])(
  "%i services fit a terminal of %i columns and %i rows, with wide characters too",
  (count, columns, rows) => {
    const board = createBoard(Array.from({ length: count }, (_, index) => `service-${index}`));
    board.selected = count - 1;
    for (const { service } of board.rows)
      log(board, service, "注文が届きました 🎉 ".repeat(9), "\u001b[31mred\u001b[2J\tend");
    for (const panel of [undefined, "help", "debug"] as const) {
      board.panel = panel;
      const frame = frameOf(board, { columns, rows }, plain, now);
      expect(frame).toHaveLength(rows);
      expect(frame.filter((line) => truncated(line).width > columns)).toEqual([]);
      expect(frame.join("\n")).not.toContain("\u001b");
    }
    board.panel = undefined;
    expect(frameOf(board, { columns, rows }, plain, now).some((line) => line.startsWith("›"))).toBe(true);
    expect(logHeight(board, { columns, rows })).toBeGreaterThanOrEqual(0);
  },
);

test("keys that ask for something of others are told, and the others do nothing", () => {
  const board = createBoard(["a"]);
  const wish = (key: Parameters<typeof applyKey>[1]) => applyKey(board, key, 5);
  expect([wish({ name: "r" }), wish({ name: "o" }), wish({ name: "q" })]).toEqual([
    "restart",
    "open",
    "quit",
  ]);
  expect(wish({ name: "c", ctrl: true })).toBe("quit");
  expect(wish({ name: "z", ctrl: true })).toBe("suspend");
  expect(wish({ name: "x" })).toBeUndefined();
  wish({ sequence: "?" });
  expect(screen(board).join("\n")).toContain("choose a service");
});
