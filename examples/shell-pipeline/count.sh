#!/bin/sh
# How often each value of a column occurs: count.sh TABLE -- COLUMN RESULT. Cells must not hold commas.
set -eu
table=$1 column=$3 result=$4

number=$(head -n 1 "$table" | tr -d '\r' | tr ',' '\n' | grep -nxF -e "$column" | head -n 1 | cut -d: -f1)
[ -n "$number" ] || { echo "count: the table has no column '$column'" >&2; exit 1; }

{
  echo "count,$column"
  tail -n +2 "$table" | tr -d '\r' | cut -d, -f"$number" | sort | uniq -c | sort -k1,1nr -k2 | sed 's/^ *\([0-9]*\) /\1,/'
} > "$result"
