/** A credential as its provider's kws.yaml declares it: where the provider and its clients have it among their values. */
import { UserError } from "@kws/base/errors";
import { parseKeyPath } from "../project/key-path.ts";
import { suggest } from "../project/nearest.ts";
import type { ProjectService } from "../project/workspace.ts";

export interface Credential {
  /** `payments/token`. */
  name: string;
  provider: Party;
  /** Where the provider has the second value that it accepts while the credential is rotated. */
  next: string[];
  clients: Party[];
}

/** A service that has the credential. */
export interface Party {
  service: ProjectService;
  /** Where its chart's values have it. */
  key: string[];
}

/** By `provider/credential`, among the services of the workspace. */
export function findCredential(services: ProjectService[], name: string): Credential {
  const declared = services.flatMap(({ name: service, config }) =>
    Object.keys(config.credentials ?? {}).map((key) => `${service}/${key}`),
  );
  const [providerName = "", key = "", ...more] = name.split("/");
  const service = services.find((candidate) => candidate.name === providerName);
  const found = more.length === 0 ? service?.config.credentials?.[key] : undefined;
  if (service === undefined || found === undefined) {
    throw new UserError(`there is no credential "${name}"`, {
      code: "not-found",
      fix: suggest(
        name,
        declared,
        "Declare it under `credentials` in the kws.yaml of the service that checks it.",
      ),
    });
  }
  const place = ["credentials", key];
  const keyAt = (path: string[], text: string): string[] => {
    const parts = parseKey(text);
    if (parts !== undefined) return parts;
    throw new UserError(`"${text}" is not the key of one value`, {
      code: "config",
      at: service.file.at([...place, ...path]),
      fix: "Write it like secrets.API_TOKEN.",
    });
  };
  const provider = { service, key: keyAt(["key"], found.key) };
  const next = keyAt(["next"], found.next);
  if (provider.key.join("\0") === next.join("\0")) {
    throw new UserError(
      `the credential ${name} needs two keys: both values are accepted while it is rotated`,
      {
        code: "config",
        at: service.file.at([...place, "next"]),
        fix: "Name another key, which the service takes a second value from.",
      },
    );
  }
  const clients = Object.entries(found.clients).map(([client, text]): Party => {
    const party = services.find((candidate) => candidate.name === client);
    if (party !== undefined && party !== service)
      return { service: party, key: keyAt(["clients", client], text) };
    const known = services.filter((candidate) => candidate !== service).map((candidate) => candidate.name);
    throw new UserError(
      party === service
        ? `${client} cannot be a client of its own credential`
        : `the credential ${name} has the client "${client}", which is not a service of the workspace`,
      {
        code: "config",
        at: service.file.at([...place, "clients", client], true),
        fix: suggest(client, known, "Remove it."),
      },
    );
  });
  return { name, provider, next, clients };
}

function parseKey(text: string): string[] | undefined {
  try {
    const path = parseKeyPath(text);
    // Helm replaces lists as a whole.
    return path.every((part) => typeof part === "string") ? path : undefined;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}
