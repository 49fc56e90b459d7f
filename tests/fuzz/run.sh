#!/usr/bin/env bash
# run.sh PROGRAM CORPUS MAX_LENGTH SECONDS [KEEP]: replays the corpus, then tries new inputs for so long (or SQUALL_FUZZ_SECONDS): others each time, or those that
# SQUALL_FUZZ_SEED leads to. New inputs are thrown away, or kept in KEEP, a folder. An input that breaks something is left in build-fuzz/findings, and named.
set -euo pipefail
program=$1 corpus=$2 max_length=$3 seconds=$4 keep=${5:-}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
findings=$(dirname "$(dirname "$program")")/findings
mkdir -p "$findings"
common=(-max_len="$max_length" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 "-artifact_prefix=$findings/$(basename "$program")-")
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
"$program" "${common[@]}" -runs=0 "$corpus" 2>&1
seconds=${SQUALL_FUZZ_SECONDS:-$seconds}
if ((seconds == 0)); then exit 0; fi
"$program" "${common[@]}" -seed="${SQUALL_FUZZ_SEED:-0}" -max_total_time="$seconds" "${keep:-$scratch}" "$corpus" 2>&1
