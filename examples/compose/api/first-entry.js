// Runs once, before the API is started.
import { add } from "./store.js";

const { ok, status } = await add("the first guest");
if (!ok) throw new Error(`the store answered ${status}`);
