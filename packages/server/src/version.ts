/** Of the server, and of the database's migrations with it. */
import packageJson from "../package.json" with { type: "json" };

export const { version } = packageJson;
