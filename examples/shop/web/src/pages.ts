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

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} · Tea shop</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem; color: #222; background: #fbfaf7; }
  header { display: flex; gap: 1.5rem; align-items: baseline; border-bottom: 1px solid #ddd; }
  header a { color: #2f5d50; }
  table { width: 100%; border-collapse: collapse; }
  td, th { padding: .5rem .25rem; text-align: left; border-bottom: 1px solid #e6e2da; vertical-align: top; }
  td.number, th.number { text-align: right; white-space: nowrap; }
  input { font: inherit; padding: .3rem .5rem; border: 1px solid #767676; border-radius: 4px; }
  input[type=number] { width: 4.5rem; }
  button { font: inherit; padding: .4rem 1rem; border: 0; border-radius: 4px; background: #2f5d50; color: #fff; cursor: pointer; }
  small { color: #5c5c5c; }
  .error { padding: .5rem 1rem; border-left: 4px solid #a33; background: #f9ecec; }
</style>
</head>
<body>
<header><h1>Tea shop</h1><nav><a href="/">Shop</a> · <a href="/orders">Orders</a></nav></header>
<main>
${body}
</main>
</body>
</html>
`;
}

export function shopPage(products: Product[], error?: string): string {
  const rows = products
    .map(
      ({ id, name, description, priceCents }) => `<tr>
<td><label for="q-${escapeHtml(id)}">${escapeHtml(name)}</label><br><small>${escapeHtml(description)}</small></td>
<td class="number">${money(priceCents)}</td>
<td class="number"><input id="q-${escapeHtml(id)}" type="number" name="${escapeHtml(id)}" min="0" max="99" value="0"></td>
</tr>`,
    )
    .join("\n");
  const problem = error === undefined ? "" : `<p class="error" role="alert">${escapeHtml(error)}</p>`;
  return page(
    "Shop",
    `${problem}<form method="post" action="/orders">
<table><thead><tr><th>Product</th><th class="number">Price</th><th class="number">Quantity</th></tr></thead>
<tbody>
${rows}
</tbody></table>
<p><label>E-mail <input type="email" name="email" required></label> <button>Order</button></p>
</form>`,
  );
}

export function orderPage(order: Order): string {
  const words: Record<string, string> = {
    paid: "is paid and on its way",
    declined: "was declined by the bank",
  };
  const items = order.items
    .map(
      ({ productId, quantity, priceCents }) =>
        `<tr><td>${quantity} × ${escapeHtml(productId)}</td><td class="number">${money(quantity * priceCents)}</td></tr>`,
    )
    .join("\n");
  return page(
    "Order",
    `<h2>Your order ${escapeHtml(words[order.status] ?? "is being worked on")}</h2>
<table>${items}
<tr><th>Total</th><th class="number">${money(order.totalCents)}</th></tr></table>
<p><small>Order ${escapeHtml(order.id)} for ${escapeHtml(order.email)}</small></p>`,
  );
}

export function ordersPage(orders: Order[]): string {
  if (orders.length === 0) return page("Orders", "<p>Nothing was ordered yet.</p>");
  const rows = orders
    .map(
      ({ id, createdAt, totalCents, status }) => `<tr>
<td><a href="/orders/${escapeHtml(id)}">${escapeHtml(createdAt.slice(0, 19).replace("T", " "))}</a></td>
<td>${escapeHtml(status)}</td><td class="number">${money(totalCents)}</td></tr>`,
    )
    .join("\n");
  return page(
    "Orders",
    `<table><thead><tr><th>Ordered (UTC)</th><th>Status</th><th class="number">Total</th></tr></thead><tbody>${rows}</tbody></table>`,
  );
}
