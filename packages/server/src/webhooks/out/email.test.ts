import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { expect, onTestFinished, test } from "vitest";
import { sendEmail, type SmtpServer } from "./email.ts";

const email = { to: ["team@example.com"], subject: "cart failed ✗", text: "cart failed\n" };

async function serve(options: SMTPServerOptions): Promise<SmtpServer> {
  const server = new SMTPServer({ disabledCommands: ["STARTTLS"], logger: false, ...options });
  const listening = server.listen(0, "127.0.0.1");
  // What a client ends in the middle is the test's own doing.
  server.on("error", () => undefined);
  await once(listening, "listening");
  onTestFinished(async () => {
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  });
  const { port } = listening.address() as AddressInfo;
  return { host: "127.0.0.1", port, tls: "none", from: "kws <kws@example.com>" };
}

test("a message arrives at all of its receivers, with an id that stays", async () => {
  const got: { to: string[]; message: string }[] = [];
  const server = await serve({
    authOptional: true,
    onData(stream, session, done) {
      const take = async () => {
        const message = await text(stream);
        got.push({ to: session.envelope.rcptTo.map(({ address }) => address), message });
        done();
      };
      void take();
    },
  });
  const to = ["team@example.com", "ops@example.com"];
  expect(await sendEmail(server, { ...email, to }, "msg_1", 20_000)).toEqual({ result: "sent" });
  expect(got).toHaveLength(1);
  expect(got[0]?.to).toEqual(to);
  expect(got[0]?.message).toContain("Message-ID: <msg_1@example.com>");
  expect(got[0]?.message).toContain("cart failed");
});

test("a password that is wrong is final, and is not told", async () => {
  const server = await serve({
    authMethods: ["PLAIN"],
    allowInsecureAuth: true,
    onAuth: (auth, _session, done) => done(new Error(`not ${auth.password}`)),
  });
  const outcome = await sendEmail({ ...server, user: "kws", password: "hunter2" }, email, "1", 20_000);
  expect(outcome).toEqual({
    result: "failed",
    reason: "127.0.0.1 did not take the message: it answered 535",
  });
});

test.each([
  [451, "retry"],
  [550, "failed"],
] as const)("a reply of %d is %s", async (responseCode, result) => {
  const server = await serve({
    authOptional: true,
    onRcptTo: (_address, _session, done) => done(Object.assign(new Error("no"), { responseCode })),
  });
  expect(await sendEmail(server, email, "1", 20_000)).toMatchObject({ result });
});

test("nothing is sent in the clear where encryption is required", async () => {
  let connected = 0;
  const server = await serve({
    authOptional: true,
    onMailFrom: (_address, _session, done) => {
      connected++;
      done();
    },
  });
  const outcome = await sendEmail({ ...server, tls: "required" }, email, "1", 20_000);
  expect(outcome.result).not.toBe("sent");
  expect(connected).toBe(0);
});

test("a server that is not there is tried later", async () => {
  const server: SmtpServer = { host: "127.0.0.1", port: 1, tls: "none", from: "kws@example.com" };
  expect(await sendEmail(server, email, "1", 20_000)).toEqual({
    result: "retry",
    reason: expect.stringMatching(/ECONNREFUSED|ESOCKET|ECONNECTION/),
  });
});
