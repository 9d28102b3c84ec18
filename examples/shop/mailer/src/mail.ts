// Writes the mail for every order that nobody was told about yet. Where no mail server is configured the mail goes to the
// log, which is what a laptop wants.

export interface Order {
  id: string;
  email: string;
  totalCents: number;
  status: string;
}

export function compose(order: Order): { to: string; subject: string; text: string } {
  const total = `€${(order.totalCents / 100).toFixed(2)}`;
  if (order.status === "paid") {
    return {
      to: order.email,
      subject: "Thank you for your order",
      text: `Order ${order.id}, ${total}, is on its way.`,
    };
  }
  return {
    to: order.email,
    subject: "Your payment did not go through",
    text: `Order ${order.id}, ${total}, was not charged. Please try another card.`,
  };
}

/** Sends first and marks afterwards: a crash in between tells somebody twice rather than never. */
export async function mailAll(
  ordersUrl: string,
  send: (mail: ReturnType<typeof compose>) => Promise<void>,
): Promise<number> {
  const response = await fetch(`${ordersUrl}/orders?mailed=false`, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`orders answered ${response.status}`);
  const orders = ((await response.json()) as Order[]).filter((order) => order.status !== "pending");
  for (const order of orders) {
    await send(compose(order));
    const marked = await fetch(`${ordersUrl}/orders/${order.id}/mailed`, {
      method: "POST",
      signal: AbortSignal.timeout(10_000),
    });
    if (!marked.ok) throw new Error(`orders answered ${marked.status} when told that ${order.id} was mailed`);
  }
  return orders.length;
}
