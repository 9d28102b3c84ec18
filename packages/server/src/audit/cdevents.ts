/**
 * Audit entries as CDEvents (https://cdevents.dev, specification 0.4.1) in CloudEvents JSON. What the specification has a type for
 * gets that type; the rest are custom events of the tool kws, with the entry's own fields as content.
 */
import type { AuditEntry } from "@kws/api/audit";

export interface CloudEvent {
  specversion: "1.0";
  id: string;
  source: string;
  type: string;
  subject: string;
  time: string;
  datacontenttype: "application/json";
  data: {
    context: { version: "0.4.1"; id: string; source: string; type: string; timestamp: string };
    subject: { id: string; source: string; type: string; content: Record<string, unknown> };
    customData: object;
  };
}

/** `source` is the server's address. */
export function toCdEvent(entry: AuditEntry, source: string): CloudEvent {
  const { at, subject, hash: id } = entry;
  const { type, kind, content } = describe(entry);
  return {
    specversion: "1.0",
    id,
    source,
    type,
    subject,
    time: at,
    datacontenttype: "application/json",
    data: {
      context: { version: "0.4.1", id, source, type, timestamp: at },
      subject: { id: subject, source, type: kind, content },
      customData: entry,
    },
  };
}

interface Description {
  type: string;
  /** The subject's. */
  kind: string;
  content: Record<string, unknown>;
}

function describe({ action, subject, actor, why, before, after }: AuditEntry): Description {
  const registered = { "repository.add": after, "repository.remove": before }[action] as
    | { url?: unknown; team?: unknown }
    | undefined;
  if (typeof registered?.url === "string") {
    const { url, team } = registered;
    const owner = typeof team === "string" ? { owner: team } : {};
    const predicate = action === "repository.add" ? "created" : "deleted";
    const content = { name: subject, url, ...owner };
    return { type: `dev.cdevents.repository.${predicate}.0.2.0`, kind: "repository", content };
  }
  const [noun = "", verb = ""] = action.split(".").map(letters);
  const content = { actor: actor.name, ...given({ why, before, after }) };
  return { type: `dev.cdeventsx.kws-${noun}.${verb}.0.1.0`, kind: `kws-${noun}`, content };
}

/** `sign-in` → `signIn`: types hold letters alone. */
function letters(word: string): string {
  return word.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function given(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
