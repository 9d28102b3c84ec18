/** Passwords that only one run of a suite has: made for it, kept in a Secret with the name of its pod, and gone with its place. */
import { randomBytes } from "node:crypto";
import type { KubeClient } from "@kws/kube/client";
import { secrets } from "@kws/kube/resources";
import { fieldManager } from "../services/labels.ts";
import type { TestSuite } from "./levels.ts";
import { labelsOf } from "./objects.ts";
import type { Place } from "./place.ts";

interface SecretOptions extends Pick<Place, "namespace" | "secret"> {
  client: KubeClient;
  signal: AbortSignal;
}

export async function makeSecrets(
  suite: TestSuite,
  { namespace, secret, client, signal }: SecretOptions,
): Promise<void> {
  const { secrets: names = [] } = suite.config;
  if (names.length === 0) return;
  // Of letters, digits, - and _, which stand for themselves in addresses.
  const stringData = Object.fromEntries(names.map((name) => [name, randomBytes(24).toString("base64url")]));
  const metadata = { name: secret, namespace, labels: labelsOf(suite) };
  await client.create(
    secrets,
    { apiVersion: "v1", kind: "Secret", metadata, stringData },
    { fieldManager, signal },
  );
}
