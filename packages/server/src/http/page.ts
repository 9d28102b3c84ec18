/** Cutting a page out of a list that is ordered by something unique. */
import { ApiError } from "@kws/api/errors";
import type { PageOf } from "@kws/api/page";

const usual = 50;

/** One more than fits, to know whether there is a next page. */
export function pageLimit(limit: number | undefined): number {
  return (limit ?? usual) + 1;
}

/** `rows` were asked for with `pageLimit`; `keyOf` is what they are ordered by. */
export function toPage<Row, Item>(
  rows: Row[],
  limit: number | undefined,
  keyOf: (row: Row) => string,
  toItem: (row: Row) => Item,
): PageOf<Item> {
  const size = limit ?? usual;
  const items = rows.slice(0, size).map(toItem);
  const last = rows[size - 1];
  if (rows.length <= size || last === undefined) return { items };
  return { items, next: Buffer.from(keyOf(last)).toString("base64url") };
}

/** The key of the last item of the page before. */
export function cursorKey(cursor: string): string {
  const key = Buffer.from(cursor, "base64url").toString();
  if (Buffer.from(key).toString("base64url") !== cursor)
    throw new ApiError("usage", "the cursor is not one of this server");
  return key;
}

/** Where it is a number that the database has counted. */
export function cursorNumber(cursor: string): string {
  const key = cursorKey(cursor);
  if (!/^\d{1,18}$/.test(key)) throw new ApiError("usage", "the cursor is not one of this list");
  return key;
}
