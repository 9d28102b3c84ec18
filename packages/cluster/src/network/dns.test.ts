import { createSocket } from "node:dgram";
import { decode, encode, type RecordType } from "dns-packet";
import { expect, test } from "vitest";
import { ClusterDns, type Forward } from "./dns.ts";
import type { DnsRecord } from "./state.ts";

const records: DnsRecord[] = [
  { type: "A", name: "web.shop.svc.cluster.local", address: "10.96.1.1" },
  { type: "A", name: "a.db.shop.svc.cluster.local", address: "10.244.0.10" },
  { type: "A", name: "db.shop.svc.cluster.local", address: "10.244.0.10" },
  {
    type: "SRV",
    name: "_pg._tcp.db.shop.svc.cluster.local",
    target: "a.db.shop.svc.cluster.local",
    port: 5432,
  },
  { type: "CNAME", name: "mail.shop.svc.cluster.local", target: "mail.example.org" },
  { type: "CNAME", name: "alias.shop.svc.cluster.local", target: "web.shop.svc.cluster.local" },
  { type: "CNAME", name: "loop.shop.svc.cluster.local", target: "loop.shop.svc.cluster.local" },
];

const outside: Forward = async (packet) => {
  const query = decode(packet);
  const name = query.questions?.[0]?.name ?? "";
  if (name !== "mail.example.org") return undefined;
  return encode({ ...query, type: "response", answers: [{ type: "A", name, ttl: 60, data: "192.0.2.1" }] });
};

async function ask(name: string, type: RecordType = "A") {
  const dns = new ClusterDns(outside);
  dns.apply(records);
  const reply = await dns.answer(encode({ type: "query", id: 7, flags: 0x100, questions: [{ type, name }] }));
  const packet = decode(reply ?? Buffer.alloc(0));
  const answers = packet.answers?.map(
    (answer) => `${answer.type} ${"data" in answer ? JSON.stringify(answer.data) : ""}`,
  );
  return {
    code: (packet.flags ?? 0) & 0xf,
    answers,
    authorities: packet.authorities?.map(({ type }) => type),
    id: packet.id,
  };
}

test("the machine outside has a name, which nobody outside is asked for", async () => {
  const asked: Buffer[] = [];
  const dns = new ClusterDns(async (packet) => void asked.push(packet));
  const query = encode({ type: "query", id: 1, questions: [{ type: "A", name: "Host.kws.internal" }] });
  const [answer] = decode((await dns.answer(query)) ?? Buffer.alloc(0)).answers ?? [];
  expect(answer).toMatchObject({ type: "A", data: "10.244.0.2" });
  expect(asked).toEqual([]);
});

test("a Service's name has its address, in any case of letters", async () => {
  expect(await ask("Web.shop.svc.cluster.local")).toMatchObject({
    code: 0,
    answers: ['A "10.96.1.1"'],
    id: 7,
  });
});

test("a name that exists without the asked type, or only above others, has no data; one that does not is NXDOMAIN", async () => {
  for (const [name, type] of [
    ["web.shop.svc.cluster.local", "AAAA"],
    ["shop.svc.cluster.local", "A"],
    ["svc.cluster.local", "A"],
  ] as const) {
    expect(await ask(name, type)).toMatchObject({ code: 0, answers: [], authorities: ["SOA"] });
  }
  expect(await ask("nope.shop.svc.cluster.local")).toMatchObject({
    code: 3,
    answers: [],
    authorities: ["SOA"],
  });
  expect(await ask("web.shop.svc.cluster.local.shop.svc.cluster.local")).toMatchObject({ code: 3 });
});

test("SRV and PTR lead to names", async () => {
  const { answers } = await ask("_pg._tcp.db.shop.svc.cluster.local", "SRV");
  expect(answers).toEqual([
    'SRV {"priority":0,"weight":100,"port":5432,"target":"a.db.shop.svc.cluster.local"}',
  ]);
  expect(await ask("1.1.96.10.in-addr.arpa", "PTR")).toMatchObject({
    code: 0,
    answers: ['PTR "web.shop.svc.cluster.local"'],
  });
  expect(await ask("9.9.96.10.in-addr.arpa", "PTR")).toMatchObject({ code: 3 });
});

test("an alias is followed inside and outside, and one that leads to itself fails", async () => {
  expect((await ask("alias.shop.svc.cluster.local")).answers).toEqual([
    'CNAME "web.shop.svc.cluster.local"',
    'A "10.96.1.1"',
  ]);
  expect((await ask("mail.shop.svc.cluster.local")).answers).toEqual([
    'CNAME "mail.example.org"',
    'A "192.0.2.1"',
  ]);
  expect(await ask("loop.shop.svc.cluster.local")).toMatchObject({ code: 2 });
});

test("a name that nobody outside answers for fails at once", async () => {
  expect(await ask("example.com")).toMatchObject({ code: 2, answers: [] });
});

test("an answer too long for a datagram says so", async () => {
  const dns = new ClusterDns(outside);
  const name = "big.shop.svc.cluster.local";
  dns.apply(Array.from({ length: 60 }, (_, i) => ({ type: "A" as const, name, address: `10.244.1.${i}` })));
  const server = await dns.listen("127.0.0.1", 0);
  const client = createSocket("udp4");
  const reply = await new Promise<Buffer>((resolve) => {
    client.on("message", resolve);
    client.send(encode({ type: "query", id: 1, questions: [{ type: "A", name }] }), server.port, "127.0.0.1");
  });
  client.close();
  server.close();
  expect(decode(reply)).toMatchObject({ flag_tc: true, answers: [] });
});
