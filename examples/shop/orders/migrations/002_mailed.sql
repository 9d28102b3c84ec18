ALTER TABLE orders ADD COLUMN mailed_at timestamptz;
CREATE INDEX orders_unmailed ON orders (created_at) WHERE mailed_at IS NULL;
