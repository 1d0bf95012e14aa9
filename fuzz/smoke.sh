#!/usr/bin/env bash
# Runs every fuzz target for a moment: its seeds, then inputs made of them, the same ones every time and each thrown away:
# RUNS (2,000) together, of conf, which loads each three times, a fifth. The targets are instrumented as cargo-fuzz does it, but
# without a sanitizer: so it takes stable Rust and a C++ compiler, and nothing that has to be installed.
set -euo pipefail
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
host=$(rustc -vV | sed -n 's/^host: //p')
coverage=-sanitizer-coverage
flags="-Cpasses=sancov-module -Cllvm-args=$coverage-level=4 -Cllvm-args=$coverage-inline-8bit-counters"
flags+=" -Cllvm-args=$coverage-pc-table -Cllvm-args=$coverage-trace-compares"
# The host is named: build scripts and macros are not instrumented then, and could not be.
programs=$(RUSTFLAGS="${RUSTFLAGS:-} $flags" cargo build --bins --target "$host" --message-format=json-render-diagnostics |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
[ -n "$programs" ]
for program in $programs; do
  target=$(basename "$program")
  mkdir "$scratch/$target"
  printf '%s: ' "$target"
  runs=${RUNS:-2000}
  [ "$target" != conf ] || runs=$((runs / 5))
  "$program" "$scratch/$target" "corpus/$target" -runs="$runs" -seed=1 -timeout=60 -rss_limit_mb=1024 \
    -verbosity=0 -print_final_stats=1 -artifact_prefix="$PWD/" 2>"$scratch/log" || { cat "$scratch/log"; exit 1; }
  sed -n 's/^stat::number_of_executed_units: */inputs /p' "$scratch/log"
done
