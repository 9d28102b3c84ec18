/** E-mail through one SMTP server, that of the server's configuration. */
import { messageOf, UserError } from "@kws/base/errors";
import type { Notification } from "./notification.ts";
import type { Outcome } from "./send.ts";
import { render } from "./template.ts";

export interface SmtpServer {
  host: string;
  port: number;
  /** `implicit` from the first byte, `required` by STARTTLS, `none` for a relay on this machine. */
  tls: "implicit" | "required" | "none";
  /** Certificates to trust beside the system's, in PEM. */
  ca?: string;
  user?: string;
  password?: string;
  /** Who it is from. */
  from: string;
}

/** `smtps://user:password@host`; `smtp://` turns to TLS, except on this machine. Throws a `config` `UserError` without the address. */
export function parseSmtp(text: string, from: string): SmtpServer {
  const url = URL.parse(text);
  if (url === null || url.hostname === "") {
    throw new UserError("KWS_SERVER_SMTP_URL is not an address of an SMTP server", {
      code: "config",
      fix: "Write it like smtps://user:password@smtp.example.com.",
    });
  }
  const { hostname: host, username, password } = url;
  const implicit = url.protocol === "smtps:";
  const local = /^(localhost|127\.[\d.]+|\[::1\])$/.test(host);
  return {
    host: host.replace(/^\[|\]$/g, ""),
    port: Number(url.port || (implicit ? 465 : 587)),
    tls: implicit ? "implicit" : local ? "none" : "required",
    ...(username === ""
      ? {}
      : { user: decodeURIComponent(username), password: decodeURIComponent(password) }),
    from,
  };
}

export interface Email {
  to: string[];
  subject: string;
  text: string;
}

/** Plain text: nothing in it is ever markup. */
export function emailOf(notification: Notification, to: string[], template: string): Email {
  const plain = (value: string) => value;
  const text = render(template, notification.values, plain);
  const [first = ""] = text.split(/[\r\n]/);
  return {
    to,
    subject: first.slice(0, 200),
    text: notification.url === undefined ? `${text}\n` : `${text}\n\n${notification.url}\n`,
  };
}

/** Hands one message over. The id makes a repeated attempt the same message for whoever receives it. */
export async function sendEmail(
  server: SmtpServer,
  { to, subject, text }: Email,
  id: string,
  timeoutMs: number,
): Promise<Outcome> {
  const { createTransport } = await import("nodemailer");
  const { host, port, tls, ca, user, password, from } = server;
  const transport = createTransport({
    host,
    port,
    secure: tls === "implicit",
    requireTLS: tls === "required",
    ignoreTLS: tls === "none",
    ...(ca === undefined ? {} : { tls: { ca } }),
    ...(user === undefined ? {} : { auth: { user, pass: password ?? "" } }),
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  try {
    await transport.sendMail({ from, to, subject, text, messageId: `<${id}@${domainOf(from)}>` });
    return { result: "sent" };
  } catch (error) {
    const reason = `${host} did not take the message: ${replyOf(error)}`;
    return { result: isPermanent(error) ? "failed" : "retry", reason };
  } finally {
    transport.close();
  }
}

function domainOf(address: string): string {
  return /@([^>\s]+)/.exec(address)?.[1] ?? "localhost";
}

function responseCode(error: unknown): number | undefined {
  return error instanceof Error && "responseCode" in error && typeof error.responseCode === "number"
    ? error.responseCode
    : undefined;
}

/** The server's words may repeat a password that was sent; its code does not. */
function replyOf(error: unknown): string {
  const code = responseCode(error);
  if (code !== undefined) return `it answered ${code}`;
  return error instanceof Error && "code" in error ? String(error.code) : messageOf(error);
}

/** RFC 5321, section 4.2.1: 5yz replies are permanent. */
function isPermanent(error: unknown): boolean {
  return (responseCode(error) ?? 0) >= 500;
}
