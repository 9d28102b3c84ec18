// Orders in PostgreSQL, in this service's own schema.
import pg from "pg";

export interface Item {
  productId: string;
  quantity: number;
  priceCents: number;
}

export interface Order {
  id: string;
  email: string;
  totalCents: number;
  status: "pending" | "paid" | "declined";
  createdAt: string;
  mailedAt: string | null;
  items: Item[];
}

export interface Store {
  ping(): Promise<void>;
  create(email: string, items: Item[]): Promise<Order>;
  setStatus(id: string, status: Order["status"]): Promise<Order | undefined>;
  find(id: string): Promise<Order | undefined>;
  list(filter: { mailed?: boolean }): Promise<Order[]>;
  setMailed(id: string): Promise<Order | undefined>;
}

const select = `
  SELECT o.id, o.email, o.total_cents AS "totalCents", o.status, o.created_at AS "createdAt", o.mailed_at AS "mailedAt",
    json_agg(json_build_object('productId', i.product_id, 'quantity', i.quantity, 'priceCents', i.price_cents)
      ORDER BY i.product_id) AS items
  FROM orders o JOIN order_items i ON i.order_id = o.id`;

export function createStore(pool: pg.Pool): Store {
  const find = async (id: string) =>
    (await pool.query<Order>(`${select} WHERE o.id = $1 GROUP BY o.id`, [id])).rows[0];

  return {
    find,
    ping: async () => void (await pool.query("SELECT 1")),
    async list({ mailed }) {
      const where = mailed === undefined ? "" : `WHERE o.mailed_at IS ${mailed ? "NOT NULL" : "NULL"}`;
      const sql = `${select} ${where} GROUP BY o.id ORDER BY o.created_at DESC LIMIT 100`;
      return (await pool.query<Order>(sql)).rows;
    },
    async create(email, items) {
      const total = items.reduce((sum, item) => sum + item.quantity * item.priceCents, 0);
      const client = await pool.connect();
      try {
        await client.query("BEGIN");
        const { rows } = await client.query<{ id: string }>(
          "INSERT INTO orders (email, total_cents, status) VALUES ($1, $2, 'pending') RETURNING id",
          [email, total],
        );
        const [row] = rows;
        if (row === undefined) throw new Error("the new order has no id");
        const { id } = row;
        for (const item of items) {
          await client.query(
            "INSERT INTO order_items (order_id, product_id, quantity, price_cents) VALUES ($1, $2, $3, $4)",
            [id, item.productId, item.quantity, item.priceCents],
          );
        }
        await client.query("COMMIT");
        const order = await find(id);
        if (order === undefined) throw new Error(`order ${id} vanished`);
        return order;
      } catch (error) {
        await client.query("ROLLBACK");
        throw error;
      } finally {
        client.release();
      }
    },
    async setStatus(id, status) {
      await pool.query("UPDATE orders SET status = $2 WHERE id = $1", [id, status]);
      return find(id);
    },
    async setMailed(id) {
      await pool.query("UPDATE orders SET mailed_at = now() WHERE id = $1 AND mailed_at IS NULL", [id]);
      return find(id);
    },
  };
}
