/** Steps on standard error: a live tree on a terminal, plain lines elsewhere, and where the time went. */
import { formatDuration } from "@kws/base/duration";
import type { StepEvent, StepRecord } from "@kws/base/steps";
import type { Output } from "./context.ts";
import { printable, type Style } from "./style.ts";

export type Reporter = (event: StepEvent) => void;

/** One line when a step ends; details are left out. */
export function plainReporter(stderr: Output, style: Style): Reporter {
  return ({ kind, title, detail, elapsedMs }) => {
    if (kind === "start" || kind === "detail") return;
    const mark = { done: style.green("✓"), skipped: style.dim("–"), failed: style.red("✗") }[kind];
    // What failed is told in full when the command ends.
    const text = kind === "failed" ? shortened(detail) : detail;
    const note = text === undefined ? "" : ` ${style.dim(text)}`;
    stderr.write(`${mark} ${title}${note} ${style.dim(`(${formatDuration(elapsedMs)})`)}\n`);
  };
}

const longest = 100;

function shortened(text: string | undefined): string | undefined {
  const cut = text?.slice(0, longest).replace(/[\s:;,]+\S*$/, "");
  return text === undefined || text.length <= longest ? text : `${cut}…`;
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const frameMs = 100;

/** What runs, redrawn in place with its time; what ended stays above it. */
export function liveReporter(stderr: Output, style: Style, now: () => number): Reporter {
  const region = liveRegion(stderr);
  const running = new Map<string, { title: string; detail: string; began: number }>();
  const plain = plainReporter({ write: (text) => region.above(String(text)) }, style);
  let frame = 0;
  let timer: NodeJS.Timeout | undefined;
  const draw = () => {
    const spin = style.yellow(frames[frame++ % frames.length] ?? "");
    // A line that wraps, or more lines than the terminal has, could not be written over.
    const room = (stderr.columns ?? 80) - 4;
    const lines = [...running.values()].map(({ title, detail, began }) => {
      const time = ` (${formatDuration(now() - began)})`;
      const head = `${title.slice(0, Math.max(0, room - time.length))}${time}`;
      return `${spin} ${head} ${style.dim(detail.slice(0, Math.max(0, room - head.length)))}`;
    });
    const height = Math.max(1, (stderr.rows ?? 24) - 2);
    const more = lines.length > height ? [style.dim(`  and ${lines.length - height + 1} more`)] : [];
    region.draw([...lines.slice(0, height - more.length), ...more]);
  };
  return (event) => {
    if (event.kind === "start") running.set(event.id, { title: event.title, detail: "", began: now() });
    const one = running.get(event.id);
    if (event.kind === "detail" && one !== undefined) {
      one.detail =
        printable(event.detail ?? "")
          .split("\n")
          .at(-1) ?? "";
      return;
    }
    if (event.kind !== "start" && event.kind !== "detail") {
      running.delete(event.id);
      plain(event);
    }
    draw();
    if (running.size > 0) timer ??= setInterval(draw, frameMs).unref();
    else {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** Lines at the end of a terminal that are written over again and again. */
function liveRegion(stream: Output): { draw(lines: string[]): void; above(text: string): void } {
  let shown: string[] = [];
  // To the first column too: the terminal itself may have written ^C.
  const erase = () => (shown.length === 0 ? "" : `\r\u001b[${shown.length}A\u001b[0J`);
  const body = (lines: string[]) => (lines.length === 0 ? "" : `${lines.join("\n")}\n`);
  return {
    draw(lines) {
      stream.write(erase() + body(lines));
      shown = lines;
    },
    above(text) {
      stream.write(erase() + text + body(shown));
    },
  };
}

/** The steps that decided the whole time, those too short to matter left out. */
export function renderCriticalPath(path: StepRecord[], style: Style): string {
  const last = path.at(-1);
  if (last === undefined) return "";
  const total = last.startedMs + last.durationMs;
  const shown = path.filter((step) => step.durationMs >= Math.max(50, total / 50));
  if (shown.length === 0) return "";
  const chain = shown.map((step) => `${step.title} ${formatDuration(step.durationMs)}`).join(" → ");
  return `${style.dim(`where the time went (${formatDuration(total)}): ${chain}`)}\n`;
}
