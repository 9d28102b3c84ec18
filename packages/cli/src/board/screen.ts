/**
 * A terminal as a whole: the alternate screen, keys as they are typed, and only the lines that changed written anew, in one
 * write that the terminal shows at once (synchronized output, https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036;
 * those that do not know it ignore it). The terminal is as it was when it is closed, when the process ends however it can
 * notice, and while it is suspended.
 */
import { writeSync } from "node:fs";
import { emitKeypressEvents } from "node:readline";
import { isErrno } from "@kws/base/errors";
import type { WriteStream } from "node:tty";
import type { Key } from "./board.ts";
import type { Size } from "./frame.ts";

const enter = "\u001b[?1049h\u001b[?25l\u001b[?7l";
const leave = "\u001b[?7h\u001b[?25h\u001b[?1049l";

export interface Screen extends Disposable {
  size(): Size;
  draw(lines: string[]): void;
  /** Everything again at the next drawing. */
  forget(): void;
  /** As Ctrl-Z does where nobody reads the keys; the text is told on the terminal that the shell gets back. */
  suspend(text: string): void;
}

export function openScreen(
  stdin: NodeJS.ReadStream,
  stdout: WriteStream,
  { onKey, onResize }: { onKey: (key: Key) => void; onResize: () => void },
): Screen {
  let shown: string[] = [];
  let open = false;
  const forget = () => {
    shown = [];
  };
  // Synchronously: it may be the last thing that the process does.
  const restore = () => {
    if (!open) return;
    open = false;
    try {
      stdin.setRawMode(false);
      writeSync(1, leave);
    } catch (error) {
      // A terminal that is gone has nothing to restore.
      if (!isErrno(error, "EIO") && !isErrno(error, "EBADF")) throw error;
    }
  };
  const begin = () => {
    open = true;
    stdin.setRawMode(true);
    forget();
    stdout.write(enter);
  };
  const onContinue = () => {
    if (!open) begin();
    onResize();
  };
  const resized = () => {
    forget();
    onResize();
  };
  const pressed = (_text: string | undefined, key: Key) => onKey(key);
  emitKeypressEvents(stdin);
  stdin.on("keypress", pressed);
  stdin.resume();
  stdout.on("resize", resized);
  process.on("exit", restore);
  process.on("SIGCONT", onContinue);
  begin();
  return {
    size: () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }),
    draw(lines) {
      if (!open) return;
      const changed = lines.flatMap((line, index) =>
        line === shown[index] ? [] : [`\u001b[${index + 1};1H\u001b[2K${line}`],
      );
      shown = lines;
      if (changed.length > 0) stdout.write(`\u001b[?2026h${changed.join("")}\u001b[?2026l`);
    },
    forget,
    suspend(text) {
      restore();
      writeSync(1, `${text}\n`);
      process.kill(process.pid, "SIGTSTP");
    },
    [Symbol.dispose]() {
      restore();
      process.off("exit", restore);
      process.off("SIGCONT", onContinue);
      stdout.off("resize", resized);
      stdin.off("keypress", pressed);
      stdin.pause();
    },
  };
}
