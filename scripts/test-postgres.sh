#!/usr/bin/env bash
# A PostgreSQL server for tests: test-postgres.sh FOLDER PORT [OPTION...]. Says "ready" when it takes connections, and ends when its
# standard input does: with the test, whatever becomes of it. User postgres, no password, on loopback.
set -euo pipefail
folder=$1 port=$2
shift 2
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
as=()
# It refuses to run as root.
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --clear-groups); chown -R postgres "$folder"; fi
cd "$folder"
"${as[@]}" "$bin/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --encoding=UTF8 --no-sync >/dev/null
"${as[@]}" "$bin/postgres" -D "$folder/data" -p "$port" -k "$folder" -c listen_addresses=127.0.0.1 -c max_connections=300 "$@" >"$folder/log" 2>&1 &
server=$!
trap 'kill -INT $server 2>/dev/null; wait $server; rm -rf "$folder"' EXIT
until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do kill -0 $server; sleep 0.05; done
echo ready
cat >/dev/null
