import pg from "pg";
import { createApp, type Product } from "./app.ts";

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  options: "-c search_path=catalog",
  max: 4,
});
pool.on("error", (error) => console.error(`lost a database connection: ${error.message}`));

const columns = `id, name, description, price_cents AS "priceCents"`;
const server = createApp({
  list: async () => (await pool.query<Product>(`SELECT ${columns} FROM products ORDER BY name`)).rows,
  find: async (id) =>
    (await pool.query<Product>(`SELECT ${columns} FROM products WHERE id = $1`, [id])).rows[0],
  ping: async () => void (await pool.query("SELECT 1")),
});

server.listen(Number(process.env.PORT ?? 8080), () => console.log("catalog is listening"));
process.on("SIGTERM", () => server.close(() => void pool.end()));
