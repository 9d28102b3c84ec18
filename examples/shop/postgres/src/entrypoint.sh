#!/bin/sh
# Makes the data directory on first start, then hands over to the server. The password comes from the environment and
# reaches initdb through a file that only this user can read and that is gone before the server starts.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"
  umask 077
  # A first start that was cut short leaves a half-made directory; it holds nothing yet.
  rm -rf "$PGDATA.new"
  password=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" > "$password"
  initdb --pgdata="$PGDATA.new" --username="${POSTGRES_USER:-postgres}" --pwfile="$password" \
    --auth-host=scram-sha-256 --auth-local=scram-sha-256 --encoding=UTF8 --locale=C
  rm -f "$password"
  echo "host all all all scram-sha-256" >> "$PGDATA.new/pg_hba.conf"
  mv "$PGDATA.new" "$PGDATA"
fi

# A volume that is given to a group comes with the group's permissions, and the server wants its data for itself.
chmod 0700 "$PGDATA"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
