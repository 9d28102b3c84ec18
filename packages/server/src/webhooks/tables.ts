/** The tables of webhooks and channels, as `migration.sql` makes them. */
import type { Generated, JSONColumnType } from "kysely";
import type { ForgeEvent } from "./in/event.ts";
import type { ForgeName } from "./in/forges.ts";

export interface WebhookTables {
  webhooks: {
    id: string;
    name: string;
    forge: ForgeName;
    scope: string;
    secrets: string[];
    created_at: Generated<Date>;
  };
  webhook_deliveries: {
    webhook: string;
    key: string;
    received_at: Generated<Date>;
    events: JSONColumnType<ForgeEvent[]>;
  };
  notification_channels: {
    id: string;
    name: string;
    kind: "slack" | "webhook" | "email";
    target: string;
    template: string;
    types: string[];
    created_at: Generated<Date>;
  };
}
