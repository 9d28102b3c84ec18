/** DNS for names outside of the cluster: the daemon asks the machine's own resolvers on behalf of pods. */
import { createSocket } from "node:dgram";
import { getServers } from "node:dns";
import { isIPv6 } from "node:net";

const timeoutMs = 1000;

/** The first answer of the machine's resolvers, asked one after the other; undefined where none answers. */
export async function forwardToHost(packet: Buffer): Promise<Buffer | undefined> {
  for (const server of getServers().slice(0, 2)) {
    const answer = await ask(server, packet);
    if (answer) return answer;
  }
  return undefined;
}

function ask(server: string, packet: Buffer): Promise<Buffer | undefined> {
  const [, bracketed, portText] = /^\[(.+)\](?::(\d+))?$/.exec(server) ?? [];
  const [host = server, port = "53"] = bracketed
    ? [bracketed, portText]
    : isIPv6(server)
      ? [server, "53"]
      : server.split(":");
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  return new Promise((resolve) => {
    const finish = (answer?: Buffer) => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(finish, timeoutMs);
    socket.once("error", () => finish());
    socket.once("message", (answer) => finish(answer));
    socket.connect(Number(port), host, () => socket.send(packet));
  });
}
