#!/usr/bin/env bash
# Conformance from outside: tests of the standards, foreign validators, foreign clients. Prints a table.
#
#   conformance/run.sh                              our binary alone
#   conformance/run.sh --peers                      PyWPS and pygeoapi beside it, and the table in README.md
#   conformance/run.sh --probes                     attacks and a kill against all three (probes.py)
#   conformance/run.sh --ogcapi URL --wps URL       a server that is running: one of the two, or both
#
# Exit code 1 where a result of ours is worse than expected.json says. ANABRANCH_BIN names a binary; without it one is
# built, by cargo's profile PROFILE (release).
set -euo pipefail
cd "$(dirname "$0")"

peers= running= suite=main.py
for argument in "$@"; do
  case $argument in
    --peers) peers=1 ;;
    --probes) peers=1 suite=probes.py ;;
    --ogcapi | --ogcapi=* | --wps | --wps=*) running=1 ;;
  esac
done

if [ -z "$running" ]; then
  bin=${ANABRANCH_BIN:-}
  if [ -z "$bin" ]; then
    profile=${PROFILE:-release}
    (cd .. && cargo build --profile "$profile" --bin anabranch)
    bin=../target/$profile/anabranch
  fi
  set -- "$@" "$bin"
fi

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
need() { # PACKAGE COMMAND...
  "${@:2}" >/dev/null 2>&1 && return
  echo "installing $1"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}
need curl curl --version
need npm npm --version
need python3-venv python3 -c 'import venv, ensurepip'

# Made anew when what is installed changes; the stamp comes last, so that a broken-off installation is not taken for a whole one.
if ! cat requirements.txt run.sh | cmp -s - .cache/installed.txt; then
  echo "installing clients and validators"
  rm -rf .cache
  python3 -m venv .cache/venv
  .cache/venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
  # Only for the schemas that are in it; its own dependencies are not needed.
  .cache/venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target .cache/pycsw pycsw==2.6.2
  # Only for the requests in its tests.
  (cd .cache && npm pack --silent ogc-schemas@2.6.1 >/dev/null)
  mkdir .cache/ogc-schemas
  tar --extract --file .cache/ogc-schemas-2.6.1.tgz --directory .cache/ogc-schemas package/tests/WPS
  cat requirements.txt run.sh >.cache/installed.txt
fi

if [ -n "$peers" ] && ! cmp -s ../benches/requirements.txt .cache/peers/installed.txt; then
  echo "installing peers"
  rm -rf .cache/peers
  python3 -m venv .cache/peers
  .cache/peers/bin/pip install --quiet --disable-pip-version-check --requirement ../benches/requirements.txt
  cp ../benches/requirements.txt .cache/peers/installed.txt
fi
# Tries again at each run to get what is missing.
[ -n "${OGC_SCHEMAS:-}" ] || .cache/venv/bin/python collect_schemas.py .cache/pycsw

if [ $suite = probes.py ]; then set -- --peers "$bin"; fi
exec .cache/venv/bin/python "$suite" "$@"
