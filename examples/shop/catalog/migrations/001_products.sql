CREATE TABLE products (
  id text PRIMARY KEY,
  name text NOT NULL,
  description text NOT NULL,
  price_cents integer NOT NULL CHECK (price_cents > 0)
);

INSERT INTO products (id, name, description, price_cents) VALUES
  ('kettle', 'Kettle', 'Boils a litre of water in two minutes.', 3900),
  ('teapot', 'Teapot', 'Stoneware, for four cups.', 4500),
  ('cup', 'Cup', 'Stoneware, dishwasher safe.', 1200),
  ('assam', 'Assam, 100 g', 'Malty black tea.', 790),
  ('sencha', 'Sencha, 100 g', 'Steamed green tea.', 1150);
