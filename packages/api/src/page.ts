/** Lists come in pages. A cursor is opaque to the caller: it names the last item of the page before. */
import { Type, type TSchema } from "typebox";

export const maxPageSize = 200;

/** What every list takes. */
export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: maxPageSize,
      description: "How many items at most; 50 unless given.",
    }),
  ),
  cursor: Type.Optional(
    Type.String({
      maxLength: 500,
      description: "The `next` of the page before; the first page unless given.",
    }),
  ),
};

export const Page = <Item extends TSchema>(item: Item) =>
  Type.Object({
    items: Type.Array(item),
    next: Type.Optional(Type.String({ description: "The cursor of the next page; absent on the last one." })),
  });

export interface PageOf<Item> {
  items: Item[];
  next?: string;
}
