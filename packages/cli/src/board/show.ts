/** The text interface of `kws service up`: events and keys in, frames out, at most so many a second. */
import type { WriteStream } from "node:tty";
import { messageOf } from "@kws/base/errors";
import type { DevEvent } from "@kws/platform/dev/events";
import type { Context } from "../context.ts";
import { createStyle, wantsColor } from "../style.ts";
import { applyEvent, applyKey, createBoard } from "./board.ts";
import { frameOf, logHeight } from "./frame.ts";
import { openScreen } from "./screen.ts";
import type { Usage } from "./usage.ts";

const frameMs = 50;
/** Ages are told in seconds. */
const tickMs = 1000;
const usageMs = 5000;

export interface BoardActions {
  restart(service: string): Promise<void>;
  /** Opens it in the browser; answers its address. */
  open(service: string): Promise<string>;
  /** Of the pods by their names. */
  usage(): Promise<Map<string, Usage>>;
}

export interface ShownBoard extends Disposable {
  onEvent(event: DevEvent): void;
}

/** Can the terminal show it? */
export function canShow({ stdin, stdout, env, globals }: Context): boolean {
  return (
    stdin.isTTY &&
    stdout.isTTY === true &&
    env["TERM"] !== "dumb" &&
    env["CI"] === undefined &&
    globals.output === undefined &&
    globals["log-level"] !== "debug"
  );
}

/** `onQuit`: the person asks to end. */
export function showBoard(
  ctx: Context,
  services: string[],
  actions: BoardActions,
  onQuit: () => void,
): ShownBoard {
  const { clock, env, globals } = ctx;
  const style = createStyle(wantsColor(env, true, globals["no-color"]));
  const board = createBoard(services);
  let timer: NodeJS.Timeout | undefined;
  const draw = () => {
    timer = undefined;
    screen.draw(frameOf(board, screen.size(), style, clock()));
  };
  const soon = () => {
    timer ??= setTimeout(draw, frameMs);
  };
  const onEvent = (event: DevEvent) => {
    applyEvent(board, event, clock());
    soon();
  };
  /** What fails is told in the log; the services go on. */
  const attempt = async (service: string, work: () => Promise<string | void>) => {
    try {
      const message = await work();
      if (message !== undefined) onEvent({ service, kind: "note", message });
    } catch (error) {
      onEvent({ service, kind: "problem", message: messageOf(error) });
    }
  };
  const screen = openScreen(ctx.stdin, ctx.stdout as WriteStream, {
    onResize: draw,
    onKey(key) {
      const wish = applyKey(board, key, logHeight(board, screen.size()));
      const service = board.rows[board.selected]?.service ?? "";
      if (wish === "quit") onQuit();
      else if (wish === "suspend") screen.suspend(suspended(services));
      else if (wish === "redraw") screen.forget();
      else if (wish === "restart") void attempt(service, () => actions.restart(service));
      else if (wish === "open") void attempt(service, () => actions.open(service));
      draw();
    },
  });
  const measure = async () => {
    // A cluster that does not answer says so elsewhere.
    const usage = await actions.usage().catch(() => new Map<string, undefined>());
    for (const row of board.rows) row.usage = usage.get(row.pod ?? "");
    soon();
  };
  const tick = setInterval(soon, tickMs);
  const measuring = setInterval(() => void measure(), usageMs);
  void measure();
  draw();
  return {
    onEvent,
    [Symbol.dispose]() {
      clearInterval(tick);
      clearInterval(measuring);
      clearTimeout(timer);
      screen[Symbol.dispose]();
    },
  };
}

function suspended(services: string[]): string {
  return `kws is suspended, and ${services.join(", ")} stay in development mode: \`fg\` goes on, \`kws service down ${services.join(" ")}\` gives them back`;
}
