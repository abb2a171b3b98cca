#!/usr/bin/env bash
# Builds the server, installs the peers, runs the workloads, prints a table for each.
#
#   benches/run.sh                     all of them, about nine minutes
#   benches/run.sh sync_echo simplify  only these
#   benches/run.sh big_data            1 GB in and out; takes 5 GB of disk for two minutes, so only when named
#   benches/run.sh xmpp                beside Prosody and ejabberd, which scripts/install-tools.sh e2e installs, so only when named
#   benches/run.sh dispatch            10,000 simulated agents; five minutes, so only when named
#
# ANABRANCH_BIN=FILE and ANABRANCH_AGENT_BIN=FILE measure these binaries instead of building them.
set -euo pipefail
cd "$(dirname "$0")"

[ $# -gt 0 ] || set -- startup interfaces sync_echo guards async_echo queued_jobs job_list remote simplify streams fan_out wires algorithms
for workload in "$@"; do
    [ -f "$workload.py" ] || [ "$workload" = dispatch ] || { echo "no such workload: $workload" >&2; exit 2; }
done

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if ! command -v wrk >/dev/null; then
    as_root apt-get update -q
    as_root apt-get install -qy wrk
fi
# The stamp is written last, so that a broken installation is repeated and a changed list is installed.
if ! cmp -s requirements.txt .venv/requirements.txt; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --requirement requirements.txt
    cp requirements.txt .venv/requirements.txt
fi
if [ -z "${ANABRANCH_BIN:-}" ]; then
    cargo build --release --package anabranch-server --bin anabranch
    export ANABRANCH_BIN="${CARGO_TARGET_DIR:-$PWD/../target}/release/anabranch"
fi

# All of it once more, as it is optimised for this program: only for what measures it.
case " $* " in *' wires '*)
    if [ -z "${ANABRANCH_AGENT_BIN:-}" ]; then
        make -C .. agent
        export ANABRANCH_AGENT_BIN="${CARGO_TARGET_DIR:-$PWD/../target}/agent/anabranch-agent"
    fi ;;
esac

case " $* " in *' algorithms '*)
    cargo build --release --package anabranch-algorithms --example run_algorithm ;;
esac
case " $* " in *' xmpp '*) cargo build --release --package anabranch-xmpp --examples ;; esac

# Beside the results and not in /tmp, which may be memory: a job store that never waits for a disk proves nothing.
mkdir -p out
BENCH_WORK="$(mktemp -d "$PWD/out/run.XXXXXX")"
export BENCH_WORK
trap 'rm -rf "$BENCH_WORK"' EXIT

failed=0
for workload in "$@"; do
    case "$workload" in
        # Two processes, so that the memory of the second one is its own.
        dispatch)
            for part in decisions pool; do
                cargo run --release --package anabranch-remote --example dispatch -- "$part" || failed=1
            done ;;
        *) python3 "$workload.py" || failed=1 ;;
    esac
done
exit "$failed"
