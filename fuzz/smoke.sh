#!/usr/bin/env bash
# Runs every fuzz target for a moment on its seeds: RUNS inputs each (20,000), new ones thrown away.
set -euo pipefail
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export RUSTC_BOOTSTRAP=1
cargo +stable fuzz build
for target in $(cargo +stable fuzz list); do
  mkdir "$scratch/$target"
  cargo +stable fuzz run "$target" "$scratch/$target" "corpus/$target" -- \
    -runs="${RUNS:-20000}" -seed=1 -timeout=10 -rss_limit_mb=1024 -verbosity=0
done
