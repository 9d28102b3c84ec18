import { mailAll } from "./mail.ts";

const count = await mailAll(process.env.ORDERS_URL ?? "http://orders", async (mail) => {
  console.log(JSON.stringify(mail));
});
console.log(`${count} mails sent`);
