#!/usr/bin/env bash
# Checks Cargo.lock against the RustSec advisories, of which no package registry carries the database: it is a git repository. Where that can't
# be reached the check is left out, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

database=https://github.com/RustSec/advisory-db
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet "$database" HEAD >/dev/null 2>&1; then
  exec cargo deny --workspace check advisories
fi
echo "advisories: NOT CHECKED, because $database can't be reached from here; run this script where it can, at the latest before a release"
