// HTML from data, with everything that came from elsewhere escaped.

export interface Product {
  id: string;
  name: string;
  description: string;
  priceCents: number;
}

export interface Order {
  id: string;
  email: string;
  totalCents: number;
  status: string;
  createdAt: string;
  items: { productId: string; quantity: number; priceCents: number }[];
}

export function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

const money = (cents: number) => `€${(cents / 100).toFixed(2)}`;

function page(title: string, current: "shop" | "orders" | undefined, body: string): string {
  const link = (id: "shop" | "orders", href: string, text: string) =>
    `<a href="${href}"${id === current ? ' aria-current="page"' : ""}>${text}</a>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} · Tea shop</title>
<style>
  :root { color-scheme: light; --ink: #24312c; --soft: #55605b; --leaf: #2f5d50; --line: #dfdacd; --paper: #fbfaf6; }
  * { box-sizing: border-box; }
  body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: var(--ink); background: var(--paper); }
  header { background: var(--leaf); color: #fff; }
  header > div, main { max-width: 46rem; margin: 0 auto; padding: 1rem; }
  header > div { display: flex; flex-wrap: wrap; gap: .25rem 2rem; align-items: baseline; }
  header .name { font: 1.6rem/1.2 Georgia, serif; color: #fff; text-decoration: none; }
  nav { display: flex; gap: 1.25rem; }
  nav a { color: #fff; text-underline-offset: .3em; }
  nav a:not([aria-current]) { text-decoration: none; }
  nav a:hover { text-decoration: underline; }
  main { padding-top: .5rem; padding-bottom: 3rem; }
  h1 { font: 1.5rem/1.3 Georgia, serif; margin: 1rem 0; }
  a { color: var(--leaf); }
  table { width: 100%; border-collapse: collapse; background: #fff; border: 1px solid var(--line); }
  td, th { padding: .65rem .9rem; text-align: left; border-bottom: 1px solid var(--line); font-weight: normal; }
  thead th { color: var(--soft); font-size: .875rem; background: #f3f0e7; }
  tfoot th, tfoot td { font-weight: bold; border-bottom: 0; }
  .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
  tbody label { font-weight: 600; }
  small { display: block; color: var(--soft); font-size: .875rem; }
  input { font: inherit; color: inherit; background: #fff; padding: .4rem .6rem; border: 1px solid #767676; border-radius: 4px; }
  input[type=number] { width: 4.5rem; }
  input[type=email] { width: 100%; max-width: 20rem; }
  button { font: inherit; font-weight: 600; padding: .5rem 1.5rem; border: 0; border-radius: 4px; background: var(--leaf); color: #fff; cursor: pointer; }
  button:hover { background: #22463c; }
  :focus-visible { outline: 3px solid #d08a1d; outline-offset: 2px; }
  .checkout { display: flex; flex-wrap: wrap; gap: 1rem; align-items: end; margin-top: 1.25rem; }
  .checkout label { flex: 1 1 16rem; }
  .error { padding: .6rem 1rem; border-left: 4px solid #a3312b; background: #f9ecea; }
  .status { padding: .1rem .6rem; border-radius: 1rem; background: #e3efe8; color: #1d4a35; font-size: .875rem; }
  .status.declined { background: #f6e0dd; color: #86221d; }
</style>
</head>
<body>
<header><div><a class="name" href="/">Tea shop</a><nav aria-label="Pages">${link("shop", "/", "Shop")}${link("orders", "/orders", "Orders")}</nav></div></header>
<main>
${body}
</main>
</body>
</html>
`;
}

const alert = (text: string) => `<p class="error" role="alert">${escapeHtml(text)}</p>\n`;

export function shopPage(products: Product[], error?: string): string {
  const rows = products
    .map(({ id, name, description, priceCents }) => {
      const field = escapeHtml(id);
      return `<tr>
<th scope="row"><label for="q-${field}">${escapeHtml(name)}</label><small id="d-${field}">${escapeHtml(description)}</small></th>
<td class="number">${money(priceCents)}</td>
<td class="number"><input id="q-${field}" type="number" name="${field}" min="0" max="99" value="0" aria-describedby="d-${field}"></td>
</tr>`;
    })
    .join("\n");
  return page(
    "Shop",
    "shop",
    `<h1>Everything for a cup of tea</h1>
${error === undefined ? "" : alert(error)}<form method="post" action="/orders">
<table><thead><tr><th scope="col">Product</th><th scope="col" class="number">Price</th><th scope="col" class="number">Quantity</th></tr></thead>
<tbody>
${rows}
</tbody></table>
<div class="checkout"><label>E-mail for the receipt<br><input type="email" name="email" autocomplete="email" required></label> <button>Order</button></div>
</form>`,
  );
}

/** A page that has nothing to show but why. */
export function messagePage(title: string, text: string): string {
  return page(
    title,
    undefined,
    `<h1>${escapeHtml(title)}</h1>\n${alert(text)}<p><a href="/">Back to the shop</a></p>`,
  );
}

export function orderPage(order: Order): string {
  const words: Record<string, string> = {
    paid: "is paid and on its way",
    declined: "was declined by the bank",
  };
  const items = order.items
    .map(
      ({ productId, quantity, priceCents }) => `<tr><td>${escapeHtml(productId)}</td>
<td class="number">${quantity}</td><td class="number">${money(quantity * priceCents)}</td></tr>`,
    )
    .join("\n");
  return page(
    "Order",
    undefined,
    `<h1>Your order ${escapeHtml(words[order.status] ?? "is being worked on")}</h1>
<table><thead><tr><th scope="col">Product</th><th scope="col" class="number">Quantity</th><th scope="col" class="number">Price</th></tr></thead>
<tbody>${items}</tbody>
<tfoot><tr><th scope="row" colspan="2">Total</th><td class="number">${money(order.totalCents)}</td></tr></tfoot></table>
<p><small>Order ${escapeHtml(order.id)} for ${escapeHtml(order.email)}</small></p>
<p><a href="/">Back to the shop</a></p>`,
  );
}

export function ordersPage(orders: Order[]): string {
  if (orders.length === 0)
    return page(
      "Orders",
      "orders",
      '<h1>Orders</h1>\n<p>Nothing was ordered yet. <a href="/">Go to the shop</a></p>',
    );
  const rows = orders
    .map(
      ({ id, createdAt, totalCents, status }) => `<tr>
<th scope="row"><a href="/orders/${escapeHtml(id)}"><time datetime="${escapeHtml(createdAt)}">${escapeHtml(createdAt.slice(0, 19).replace("T", " "))}</time></a></th>
<td><span class="status ${escapeHtml(status)}">${escapeHtml(status)}</span></td><td class="number">${money(totalCents)}</td></tr>`,
    )
    .join("\n");
  return page(
    "Orders",
    "orders",
    `<h1>Orders</h1>
<table><thead><tr><th scope="col">Ordered (UTC)</th><th scope="col">Status</th><th scope="col" class="number">Total</th></tr></thead><tbody>${rows}</tbody></table>`,
  );
}
