/** What a development session is told in: the board where a terminal can show several services, lines elsewhere. */
import type { DevEvent } from "@kws/platform/dev/events";
import type { Context } from "../context.ts";
import { developmentReporter } from "../developing.ts";
import { type BoardActions, canShow, showBoard } from "./show.ts";

export interface View extends Disposable {
  onEvent(event: DevEvent): void;
  /** Aborts when the person asks to end in the board. */
  quit: AbortSignal;
}

/** Disposed of, it goes on in lines, and the terminal is as it was. */
export function openView(
  ctx: Context,
  services: string[],
  { plain, ...actions }: BoardActions & { plain: boolean },
): View {
  const lines = developmentReporter(ctx, services);
  const quit = new AbortController();
  const onQuit = () => quit.abort(Object.assign(new Error("interrupted by q"), { name: "InterruptError" }));
  let board =
    services.length > 1 && !plain && canShow(ctx) ? showBoard(ctx, services, actions, onQuit) : undefined;
  return {
    onEvent(event) {
      if (board === undefined) lines(event);
      else board.onEvent(event);
    },
    quit: quit.signal,
    [Symbol.dispose]() {
      board?.[Symbol.dispose]();
      board = undefined;
    },
  };
}
