// The way to the store, with the password that Compose mounts.
import { readFileSync } from "node:fs";

const authorization = readFileSync("/run/secrets/store_password", "utf8");

export function ask(method, body) {
  return fetch(process.env.STORE_URL, { method, headers: { authorization }, body });
}
