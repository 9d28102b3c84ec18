// Runs once, before the API is started.
import { ask } from "./store.js";

const { ok, status } = await ask("POST", "the first guest");
if (!ok) throw new Error(`the store answered ${status}`);
