#!/usr/bin/env bash
# Runs a test program of one package only, as cargo's runner: only-package.sh PACKAGE PROGRAM ARGUMENT...
# `cargo test --package` would select other features than the whole workspace has, and build all dependencies again.
[ "$CARGO_PKG_NAME" = "$1" ] || exit 0
shift
exec "$@"
