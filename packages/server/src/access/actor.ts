/** Who calls. */
import type { Grant } from "@kws/api/access";
import type { AuditEntry } from "@kws/api/audit";

type Principal = AuditEntry["actor"];

export interface Actor extends Principal {
  grants: readonly Grant[];
  teams: readonly string[];
  /** The token of the database that the request came with. */
  token?: { id: string; kind: "service" | "login" | "session"; expiresAt: Date };
}

/** Of a public route: nobody has said who it is. */
export function anonymous(address: string): Actor {
  return { kind: "anonymous", id: address, name: "anonymous", grants: [], teams: [] };
}
