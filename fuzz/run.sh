#!/usr/bin/env bash
# Fuzzes each target for so many seconds of processor time, two at once, and prints a table. Exit code 1 where one has found something.
# Processor time, so that what is tried does not depend on what else the machine does: .ci/run does this beside everything else.
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
# It only starts cargo: not worth optimising.
command -v cargo-fuzz >/dev/null || CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug cargo-fuzz
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
[ $# -eq 0 ] || targets=("$@")
flags=(--sanitizer "$sanitizer" --codegen-units 16)
begin=$SECONDS
# One target where one is asked for, else all in one build.
if [ ${#targets[@]} -eq 1 ]; then cargo fuzz build "${flags[@]}" "${targets[0]}"; else cargo fuzz build "${flags[@]}"; fi
echo "built in $((SECONDS - begin)) s"

logs=$(mktemp -d)
# None may outlive this script.
trap 'jobs -rp | xargs -r kill 2>/dev/null || true; rm -rf "$logs"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
programs=fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release

# Seconds of processor time within which an input has to be done with; stuck for so long, it is a find.
input_s_max=20
# Seconds on the clock for that, for inputs that wait and work not at all: long, because others may have all of the processors meanwhile.
input_wait_s_max=600

# processor_s PID: seconds of processor time that it has used, none when it has ended.
ticks=$(getconf CLK_TCK)
processor_s() {
  local of
  read -r -a of 2>/dev/null <"/proc/$1/stat" && echo $(((of[13] + of[14]) / ticks))
}

# fuzz TARGET: runs it; its log ends with `ended`, or without where something was found.
fuzz() {
  mkdir -p "fuzz/corpus/$1" "fuzz/artifacts/$1"
  "$programs/$1" "fuzz/corpus/$1" "fuzz/seeds/$1" -artifact_prefix="fuzz/artifacts/$1/" -rss_limit_mb=2048 \
    -timeout=$input_wait_s_max -print_final_stats=1 >"$logs/$1" 2>&1 &
  local pid=$! used=0 asked=
  trap 'kill $pid 2>/dev/null; exit 143' TERM
  while sleep 0.5; used=$(processor_s $pid); [ -n "$used" ]; do
    # At its first signal it ends when it has done with its input; at the second it writes down the one that it is stuck with.
    if [ -z "$asked" ] && [ "$used" -ge "$seconds" ]; then asked=yes; kill -USR1 $pid 2>/dev/null || true; fi
    if [ "$used" -ge $((seconds + input_s_max)) ]; then kill -ABRT $pid 2>/dev/null || true; fi
  done
  if wait $pid; then echo ended >>"$logs/$1"; fi
  echo "$1: done"
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
