/** Who calls. */
import type { Me } from "@kws/api/me";

export interface Actor extends Me {
  /** What the limits of requests are counted by. */
  id: string;
}
