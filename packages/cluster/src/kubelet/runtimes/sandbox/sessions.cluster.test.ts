import { sessionsContract } from "../../testing/runtime-contract.ts";
import { describeSandbox } from "../../testing/runtime-harness.ts";

describeSandbox("Commands and attached clients", sessionsContract);
