#!/usr/bin/env bash
# Fuzzes each target for so many seconds, one after another, and prints a table. Exit code 1 where one has found something.
#
#   fuzz/run.sh SECONDS [TARGET...]
#
# Installs cargo-fuzz and the nightly toolchain where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
[ $# -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list)
[ $# -eq 0 ] || targets=("$@")
# Before anything is run: what can't be built has found nothing.
for target in "${targets[@]}"; do cargo +nightly fuzz build "$target"; done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
stat() { sed -n "s/^stat::$1: *//p" "$log"; }

row='%-16s  %12s  %8s  %8s  %9s  %s\n'
failed=0 rows=
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    echo "$target: $seconds s"
    found=nothing
    if ! cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -print_final_stats=1 >"$log" 2>&1; then
        failed=1
        found=$(sed -n 's/.*Test unit written to //p' "$log" | head -1)
        [ -n "$found" ] || { tail -20 "$log"; found="did not run"; }
    fi
    inputs=$(find "fuzz/corpus/$target" -type f | wc -l)
    rows+=$(printf "$row" "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" "$inputs" "$(stat peak_rss_mb)" "$found")$'\n'
done
printf "\n$row" target executions per_s inputs peak_MiB found
printf '%s' "$rows"
exit "$failed"
