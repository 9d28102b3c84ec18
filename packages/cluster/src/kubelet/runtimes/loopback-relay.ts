/** A program for a Node inside a pod's network. */

/** Connects the standard streams with a port on the loopback address; the first byte out says whether there is one. A second
 * argument makes it end with its output, for who does not see that end otherwise. */
export const loopbackRelay = `const { connect, Socket } = require("net");
const out = new Socket({ fd: 1, readable: false, writable: true });
const s = connect({ host: "127.0.0.1", port: Number(process.argv[1]), allowHalfOpen: true });
s.on("connect", () => { out.write("+"); process.stdin.pipe(s); s.pipe(out); });
s.on("error", () => process.exit(1));
s.on("close", () => process.exit(0));
out.on("error", () => process.exit(1));
if (process.argv[2]) out.on("finish", () => process.exit(0));`;
