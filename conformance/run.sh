#!/usr/bin/env bash
# Conformance from outside: tests of the standards, foreign validators, foreign clients. Prints a table.
#
#   conformance/run.sh                              our binary alone
#   conformance/run.sh --peers                      PyWPS and pygeoapi beside it, and the table in README.md
#   conformance/run.sh --ogcapi URL --wps URL       a server that is running: one of the two, or both
#
# Exit code 1 where a result of ours is worse than expected.json says. ANABRANCH_BIN names a binary; without it the release
# binary is built.
set -euo pipefail
cd "$(dirname "$0")"

peers= running=
for argument in "$@"; do
  case $argument in
    --peers) peers=1 ;;
    --ogcapi | --ogcapi=* | --wps | --wps=*) running=1 ;;
  esac
done

if [ -z "$running" ]; then
  bin=${ANABRANCH_BIN:-}
  if [ -z "$bin" ]; then
    (cd .. && cargo build --release --bin anabranch)
    bin=../target/release/anabranch
  fi
  set -- "$@" "$bin"
fi

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  echo "installing python3-venv"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
fi

# Made anew when the requirements change; the stamp comes last, so that a broken-off installation is not taken for a whole one.
if ! cmp -s requirements.txt .cache/installed.txt; then
  echo "installing clients and validators"
  rm -rf .cache
  python3 -m venv .cache/venv
  .cache/venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
  # Only for the schemas that are in it; its own dependencies are not needed.
  .cache/venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target .cache/pycsw pycsw==2.6.2
  cp requirements.txt .cache/installed.txt
fi

if [ -n "$peers" ] && ! cmp -s ../benches/requirements.txt .cache/peers/installed.txt; then
  echo "installing peers"
  rm -rf .cache/peers
  python3 -m venv .cache/peers
  .cache/peers/bin/pip install --quiet --disable-pip-version-check --requirement ../benches/requirements.txt
  cp ../benches/requirements.txt .cache/peers/installed.txt
fi
[ -n "${OGC_SCHEMAS:-}" ] || .cache/venv/bin/python collect_schemas.py .cache/pycsw

exec .cache/venv/bin/python main.py "$@"
