#!/usr/bin/env bash
# Fuzzes each target for so many seconds, two at once, and prints a table. Exit code 1 where one has found something.
#
#   fuzz/run.sh SECONDS [TARGET...]
#
# All targets are built once, by the stable toolchain (RUSTC_BOOTSTRAP=1 opens the flags that libFuzzer needs), with debug assertions and
# overflow checks. FUZZ_SANITIZER=address adds the address sanitizer, which takes twice as long: our code has no `unsafe`, so without it a
# fault of memory in a dependency may go unseen, a panic does not.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
sanitizer=${FUZZ_SANITIZER:-none}
parallel=2
export RUSTC_BOOTSTRAP=1 CARGO_TERM_QUIET=true
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
[ $# -eq 0 ] || targets=("$@")
flags=(--sanitizer "$sanitizer" --codegen-units 16)
begin=$SECONDS
# One target where one is asked for, else all in one build.
if [ ${#targets[@]} -eq 1 ]; then cargo fuzz build "${flags[@]}" "${targets[0]}"; else cargo fuzz build "${flags[@]}"; fi
echo "built in $((SECONDS - begin)) s"

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
programs=fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release

# fuzz TARGET: runs it; its log ends with `ended`, or without where something was found.
fuzz() {
  mkdir -p "fuzz/corpus/$1" "fuzz/artifacts/$1"
  "$programs/$1" "fuzz/corpus/$1" "fuzz/seeds/$1" -artifact_prefix="fuzz/artifacts/$1/" -rss_limit_mb=2048 -timeout=20 \
    -max_total_time="$seconds" -print_final_stats=1 >"$logs/$1" 2>&1 && echo ended >>"$logs/$1"
  echo "$1: $seconds s"
}
for target in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge $parallel ]; do wait -n || true; done
  fuzz "$target" &
done
wait

stat() { sed -n "s/^stat::$2: *//p" "$logs/$1"; }
row='%-16s  %12s  %8s  %8s  %9s  %s\n'
failed=0
printf "\n$row" target executions per_s inputs peak_MiB found
for target in "${targets[@]}"; do
  found=nothing
  if ! grep -qx ended "$logs/$target"; then
    failed=1
    found=$(sed -n 's/.*Test unit written to //p' "$logs/$target" | head -1)
    [ -n "$found" ] || { tail -20 "$logs/$target"; found="did not run"; }
  fi
  inputs=$(find "fuzz/corpus/$target" -type f | wc -l)
  printf "$row" "$target" "$(stat "$target" number_of_executed_units)" "$(stat "$target" average_exec_per_sec)" "$inputs" \
    "$(stat "$target" peak_rss_mb)" "$found"
done
exit "$failed"
