/**
 * Cluster DNS on the Service address, over UDP and TCP, from the records of the network state. Names outside of the cluster's
 * domain are passed to whoever can reach the outside; without that, or without an answer from it, they fail at once with SERVFAIL.
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { AUTHORITATIVE_ANSWER, decode, encode, RECURSION_AVAILABLE, TRUNCATED_RESPONSE } from "dns-packet";
import type { Answer, Packet, Question } from "dns-packet";
import { addresses, type DnsRecord } from "./state.ts";

/** The seconds for which cluster names may be kept. */
const ttl = 5;
const plainUdpSize = 512;

/** Response codes of RFC 1035, 4.1.1; they live in the low bits of the flags. */
const rcode = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4 } as const;

/** Asks a server outside; undefined where there is none or it does not answer. */
export type Forward = (packet: Buffer) => Promise<Buffer | undefined>;

export class ClusterDns {
  readonly #forward: Forward;
  #names = new Map<string, DnsRecord[]>();
  /** Every name that exists, also those that exist only because something lies below them (RFC 8020). */
  #present = new Set<string>();
  #reverse = new Map<string, string[]>();

  constructor(forward: Forward) {
    this.#forward = forward;
    this.apply([]);
  }

  apply(records: DnsRecord[]): void {
    const names = new Map<string, DnsRecord[]>();
    const present = new Set<string>([addresses.clusterDomain]);
    const reverse = new Map<string, string[]>();
    const host: DnsRecord = { type: "A", name: addresses.hostName, address: addresses.host };
    present.add(addresses.hostName);
    for (const record of [host, ...records]) {
      const list = names.get(record.name);
      if (list) list.push(record);
      else names.set(record.name, [record]);
      for (
        let name = record.name;
        name.endsWith(`.${addresses.clusterDomain}`);
        name = name.slice(name.indexOf(".") + 1)
      ) {
        present.add(name);
      }
      if (record.type !== "A") continue;
      const pointer = `${record.address.split(".").reverse().join(".")}.in-addr.arpa`;
      reverse.set(pointer, [...(reverse.get(pointer) ?? []), record.name]);
    }
    this.#names = names;
    this.#present = present;
    this.#reverse = reverse;
  }

  /** The answer to one query, as bytes; undefined for what is no query at all. */
  async answer(bytes: Buffer): Promise<Buffer | undefined> {
    let query: Packet;
    try {
      query = decode(bytes);
    } catch {
      return undefined;
    }
    if (query.type !== "query" || bytes.length < 12) return undefined;
    const [question] = query.questions ?? [];
    if (!question) return respond(query, rcode.formatError, []);
    if (((query.flags ?? 0) >> 11) & 0xf) return respond(query, rcode.notImplemented, []);
    const name = question.name.toLowerCase();
    if (this.#isOurs(name)) return this.#local(query, question, name);
    const answer = await this.#forward(bytes).catch(() => undefined);
    return answer ?? respond(query, rcode.serverFailure, []);
  }

  #isOurs(name: string): boolean {
    if (this.#reverse.has(name)) return true;
    if (name === addresses.hostName) return true;
    return name === addresses.clusterDomain || name.endsWith(`.${addresses.clusterDomain}`) || inRanges(name);
  }

  async #local(query: Packet, question: Question, name: string): Promise<Buffer> {
    const type = question.type as string;
    const wants = (kind: string) => type === kind || type === "ANY";
    const answers: Answer[] = [];
    const additionals: Answer[] = [];
    const pointers = this.#reverse.get(name);
    if (pointers) {
      if (wants("PTR"))
        for (const data of pointers) answers.push({ type: "PTR", name: question.name, ttl, data });
      return respond(query, rcode.noError, answers);
    }
    let code: number = this.#present.has(name) ? rcode.noError : rcode.nameError;
    for (const record of shuffled(this.#names.get(name) ?? [])) {
      if (record.type === "A" && wants("A")) {
        answers.push({ type: "A", name: question.name, ttl, data: record.address });
      } else if (record.type === "SRV" && wants("SRV")) {
        const data = { priority: 0, weight: 100, port: record.port, target: record.target };
        answers.push({ type: "SRV", name: question.name, ttl, data });
        for (const target of this.#names.get(record.target) ?? []) {
          if (target.type === "A")
            additionals.push({ type: "A", name: record.target, ttl, data: target.address });
        }
      } else if (record.type === "CNAME") {
        answers.push({ type: "CNAME", name: question.name, ttl, data: record.target });
        if (type === "CNAME" || type === "ANY") continue;
        const followed = await this.#follow(query, question, record.target);
        answers.push(...followed.answers);
        code = followed.code;
      }
    }
    return respond(query, code, answers, additionals);
  }

  /** What the target of an alias answers to the same question. */
  async #follow(
    query: Packet,
    question: Question,
    target: string,
  ): Promise<{ answers: Answer[]; code: number }> {
    const bytes = encode({ ...query, questions: [{ ...question, name: target }], additionals: [] });
    const depth = (this.#depth.get(query.id ?? 0) ?? 0) + 1;
    if (depth > 8) return { answers: [], code: rcode.serverFailure };
    this.#depth.set(query.id ?? 0, depth);
    try {
      const reply = await this.answer(bytes);
      if (!reply) return { answers: [], code: rcode.serverFailure };
      const packet = decode(reply);
      return { answers: packet.answers ?? [], code: (packet.flags ?? 0) & 0xf };
    } finally {
      this.#depth.delete(query.id ?? 0);
    }
  }

  /** How many aliases a query has been through, by its id. */
  readonly #depth = new Map<number, number>();

  /** Starts the listeners. */
  async listen(host: string = addresses.dns, port = 53): Promise<{ port: number; close(): void }> {
    const udp = createSocket("udp4");
    udp.on("message", (message, from) => {
      void this.answer(message)
        .then((reply) => {
          if (reply) udp.send(fit(reply, message), from.port, from.address);
        })
        // What cannot be answered, such as a packet from port 0, is not worth a line in the log each.
        .catch(() => undefined);
    });
    const tcp = createServer((socket) => {
      let pending = Buffer.alloc(0);
      socket.setTimeout(10_000, () => socket.destroy());
      socket.on("error", () => socket.destroy());
      socket.on("data", (chunk: Buffer) => {
        pending = Buffer.concat([pending, chunk]);
        while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
          const end = 2 + pending.readUInt16BE(0);
          const message = pending.subarray(2, end);
          pending = pending.subarray(end);
          this.answer(message).then(
            (reply) => {
              if (!reply || socket.destroyed) return;
              const size = Buffer.alloc(2);
              size.writeUInt16BE(reply.length);
              socket.write(Buffer.concat([size, reply]));
            },
            () => socket.destroy(),
          );
        }
      });
    });
    await new Promise<void>((resolve, reject) => {
      udp.once("error", reject);
      udp.bind({ address: host, port }, () => {
        udp.off("error", reject);
        udp.on("error", () => undefined); // An answer to a client that is gone.
        resolve();
      });
    });
    await new Promise<void>((resolve, reject) => {
      tcp.once("error", reject);
      tcp.listen(udp.address().port, host, resolve);
    });
    return {
      port: udp.address().port,
      close() {
        udp.close();
        tcp.close();
      },
    };
  }
}

/** Reverse names of the cluster's own ranges are never asked outside. */
function inRanges(name: string): boolean {
  return [addresses.podCidr, addresses.serviceCidr].some((range) => {
    const [a, b] = range.split(".");
    return name.endsWith(`.${b ?? ""}.${a ?? ""}.in-addr.arpa`);
  });
}

function respond(query: Packet, code: number, answers: Answer[], additionals: Answer[] = []): Buffer {
  const asked = query.flags ?? 0;
  const [question] = query.questions ?? [];
  const authorities: Answer[] = [];
  if (answers.length === 0 && question && (code === rcode.noError || code === rcode.nameError)) {
    // Without a start of authority, resolvers do not keep the negative answer (RFC 2308).
    const data = {
      mname: `ns.dns.${addresses.clusterDomain}`,
      rname: `hostmaster.${addresses.clusterDomain}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: ttl,
    };
    authorities.push({ type: "SOA", name: addresses.clusterDomain, ttl, data });
  }
  return encode({
    type: "response",
    id: query.id,
    flags: (asked & 0x0100) | AUTHORITATIVE_ANSWER | RECURSION_AVAILABLE | code,
    questions: query.questions,
    answers,
    authorities,
    additionals,
  });
}

/** Cuts an answer that the asker cannot take in one datagram; it then asks again by TCP. */
function fit(reply: Buffer, query: Buffer): Buffer {
  const offered = decode(query).additionals?.find((answer) => answer.type === "OPT");
  const limit = Math.max(
    plainUdpSize,
    offered && "udpPayloadSize" in offered ? offered.udpPayloadSize : plainUdpSize,
  );
  if (reply.length <= limit) return reply;
  const packet = decode(reply);
  return encode({
    ...packet,
    flags: (packet.flags ?? 0) | TRUNCATED_RESPONSE,
    answers: [],
    additionals: [],
    authorities: [],
  });
}

/** Any order is right; a changing one spreads clients that take the first address. */
function shuffled<T>(items: T[]): T[] {
  const start = Math.floor(Math.random() * items.length);
  return [...items.slice(start), ...items.slice(0, start)];
}
