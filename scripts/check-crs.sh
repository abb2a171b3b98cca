#!/usr/bin/env bash
# Compares every coordinate reference system that the server knows with PROJ, by pyproj from PyPI, pinned.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/crs-venv
pin="pyproj==3.7.2"
python3 -c 'import venv, ensurepip' 2>/dev/null || scripts/install-tools.sh venv
# The stamp comes last, so that a broken-off installation is not taken for a whole one.
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$pin" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$pin"
  echo "$pin" > "$venv/installed"
fi
# The selection of packages with which the tests are built: another one has other features, and all would be built again.
cargo build --quiet --workspace --features anabranch-server/opentelemetry --example crs_table
target/debug/examples/crs_table > target/crs-table.jsonl
"$venv/bin/python" scripts/crs.py check < target/crs-table.jsonl
