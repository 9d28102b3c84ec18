/** What development sessions tell, as lines: logs on standard output, everything else on standard error. */
import type { DevEvent } from "@kws/platform/dev/events";
import type { Context } from "./context.ts";
import { createStyle, printable, wantsColor } from "./style.ts";

/** With `-o json`, every event is a line of its own on standard output. */
export function developmentReporter(ctx: Context, services: string[]): (event: DevEvent) => void {
  if (ctx.globals.output === "json") return (event) => ctx.stdout.write(`${JSON.stringify(event)}\n`);
  const { env, stdout, stderr, style } = ctx;
  const out = createStyle(wantsColor(env, stdout.isTTY === true, ctx.globals["no-color"]));
  const width = Math.max(...services.map((name) => name.length));
  const prefixed = (service: string, paint: typeof style, text: string) =>
    services.length > 1
      ? `${paint.palette(services.indexOf(service), service.padEnd(width))} ${text}\n`
      : `${text}\n`;
  const told = new Map<string, string>();
  return (event) => {
    if (event.kind === "log") {
      stdout.write(prefixed(event.service, out, out.enabled ? event.text : printable(event.text)));
      return;
    }
    if (event.kind === "problem") {
      const fix = event.fix === undefined ? "" : ` ${style.green("fix:")} ${event.fix}`;
      const text = `${style.red("error:")} ${printable(event.message)}${fix}`;
      stderr.write(prefixed(event.service, style, text));
      return;
    }
    if (ctx.quiet) return;
    const text = wordsOf(event);
    // A new pod, or a probe's answer, is no news by itself.
    if (event.kind === "state" && told.get(event.service) === text) return;
    if (event.kind === "state" && text !== "") told.set(event.service, text);
    if (text !== "") stderr.write(prefixed(event.service, style, style.dim(`— ${text}`)));
  };
}

function wordsOf(event: Exclude<DevEvent, { kind: "log" | "problem" }>): string {
  if (event.kind === "note") return event.message;
  if (event.kind === "change") return `${event.action}: ${listed(event.paths)}`;
  if (event.kind === "debug") return debugWords(event);
  const { service, state, ready, exitCode } = event;
  const words = {
    starting: `${service}: the dev container comes in its place`,
    waiting: `${service}: waits for its files`,
    running: ready ? `${service} is ready; Ctrl-C gives the service back` : "",
    ended: `${service} ended with exit code ${exitCode}; a change starts it again`,
    building: `${service}: builds the image`,
    stopped: "",
  };
  return words[state];
}

function debugWords({ service, language, address, files }: Extract<DevEvent, { kind: "debug" }>): string {
  const where = address === undefined ? "in the container" : `on ${address}`;
  const how =
    files.length === 0
      ? ""
      : `, and \`kws: ${service}\` in ${files.map(printable).join(" and ")} attaches to it`;
  return `${service}: its debugger (${language}) is ${where}${how}`;
}

const shown = 3;

/** The first of the paths. */
export function listed(paths: string[]): string {
  const rest = paths.length - shown;
  return paths.slice(0, shown).map(printable).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
