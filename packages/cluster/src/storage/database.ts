/**
 * Objects on disk: one SQLite table, one transaction for each batch of writes. A batch that `commit` returned from survives
 * the process being killed and the machine losing power (WAL with `synchronous=FULL`).
 */
import { chmodSync, closeSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { isErrno, messageOf, UserError } from "@kws/base/errors";

/** One row to write; without a value the row is removed. */
export interface Row {
  /** `pods`, `deployments.apps`. */
  resource: string;
  key: string;
  revision: number;
  /** JSON text of the object. */
  value: string | undefined;
}

/** A row that is there. */
export type ObjectRow = Row & { value: string };

/** All that a database holds. */
export interface ObjectRows {
  revision: number;
  rows: Iterable<ObjectRow>;
}

export interface Database {
  /** The last revision ever given out, of removed objects too. */
  revision: number;
  /** All rows, by resource and key. */
  rows(): Iterable<ObjectRow>;
  /** All of it or, where it throws, nothing. */
  commit(rows: Row[], revision: number): void;
  close(): void;
}

const schema = `
  CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (resource, key)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 0), value INTEGER NOT NULL);
  INSERT OR IGNORE INTO revision VALUES (0, 1);
`;

/** Opens or makes the file. It is locked for as long as it is open, so that no two daemons write the same cluster. */
export function openDatabase(path: string): Database {
  const db = connect(path);
  const put = db.prepare(
    "INSERT OR REPLACE INTO objects (resource, key, revision, value) VALUES (?, ?, ?, ?)",
  );
  const remove = db.prepare("DELETE FROM objects WHERE resource = ? AND key = ?");
  const advance = db.prepare("UPDATE revision SET value = ? WHERE id = 0");
  const { value } = db.prepare("SELECT value FROM revision").get() as { value: number };
  return {
    revision: value,
    rows: () =>
      db
        .prepare("SELECT resource, key, revision, value FROM objects ORDER BY resource, key")
        .iterate() as Iterable<ObjectRow>,
    commit(rows, revision) {
      db.exec("BEGIN IMMEDIATE");
      try {
        for (const row of rows) {
          if (row.value === undefined) remove.run(row.resource, row.key);
          else put.run(row.resource, row.key, row.revision, row.value);
        }
        advance.run(revision);
        db.exec("COMMIT");
      } catch (error) {
        if (db.isTransaction) db.exec("ROLLBACK");
        throw error;
      }
    },
    close: () => db.close(),
  };
}

function connect(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    // SQLite gives its other files the mode of this one, and secrets are in all of them.
    closeSync(openSync(path, "a", 0o600));
    chmodSync(path, 0o600);
    db = new DatabaseSync(path);
    db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    db.exec(schema);
    return db;
  } catch (error) {
    db?.close();
    const locked = messageOf(error).includes("locked");
    throw new UserError(`cannot open the cluster's storage ${path}: ${messageOf(error)}`, {
      fix: locked
        ? "another process serves this cluster; stop it first"
        : isErrno(error, "ERR_SQLITE_ERROR")
          ? "check the folder's permissions and the free space, or reset the cluster"
          : "check the folder",
      cause: error,
    });
  }
}
