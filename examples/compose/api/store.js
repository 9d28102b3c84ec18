// The way to the store, with the password that Compose mounts.
import { readFileSync } from "node:fs";

const authorization = readFileSync("/run/secrets/store_password", "utf8");

export function entries() {
  return fetch(process.env.STORE_URL, { headers: { authorization } });
}

export function add(entry) {
  return fetch(process.env.STORE_URL, { method: "POST", headers: { authorization }, body: entry });
}
