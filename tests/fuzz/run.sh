#!/usr/bin/env bash
# run.sh PROGRAM CORPUS MAX_LENGTH RUNS [KEEP]: replays the corpus, then tries new inputs: as many as RUNS, the same each time and on each machine, or others for
# SQUALL_FUZZ_SECONDS. New inputs are thrown away, or kept in KEEP, a folder. An input that breaks something is left in build-fuzz/findings, and named.
set -euo pipefail
program=$1 corpus=$2 max_length=$3 runs=$4 keep=${5:-}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
findings=$(dirname "$(dirname "$program")")/findings
mkdir -p "$findings"
common=(-max_len="$max_length" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 "-artifact_prefix=$findings/$(basename "$program")-")
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
"$program" "${common[@]}" -runs=0 "$corpus" 2>&1
if [[ ${SQUALL_FUZZ_SECONDS:-} == 0 ]]; then exit 0; fi # for libFuzzer it means for ever
if [[ -n ${SQUALL_FUZZ_SECONDS:-} ]]; then
  extent=(-max_total_time="$SQUALL_FUZZ_SECONDS")
else
  extent=(-runs="$runs" -seed=1 -reload=0) # looking for others' inputs goes by the clock
fi
"$program" "${common[@]}" "${extent[@]}" "${keep:-$scratch}" "$corpus" 2>&1
