/** Who calls. */
import type { Me } from "@kws/api/me";
import type { Grant } from "./grants.ts";

export interface Actor extends Me {
  grants: readonly Grant[];
  /** What the limits of requests are counted by. */
  id: string;
}
