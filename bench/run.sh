#!/usr/bin/env bash
# bench/run.sh [NAME...] [--json] [--smoke]: runs the named benchmarks, or all, one after the other. SQUALL_BUILD names the build folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin="${SQUALL_BUILD:-$root/build}/bin"

names=()
flags=()
for argument in "$@"; do
  case $argument in
  --json | --smoke) flags+=("$argument") ;;
  -*)
    echo "usage: bench/run.sh [NAME...] [--json] [--smoke]" >&2
    exit 2
    ;;
  *) names+=("$argument") ;;
  esac
done

available=()
for program in "$bin"/bench-*; do
  [[ -x $program ]] && available+=("${program##*/bench-}")
done
if ((${#available[@]} == 0)); then
  echo "bench/run.sh: no benchmarks in $bin: build them first (./dev build)" >&2
  exit 1
fi
((${#names[@]} > 0)) || names=("${available[@]}")

for name in "${names[@]}"; do
  if [[ ! -x $bin/bench-$name ]]; then
    echo "bench/run.sh: no benchmark '$name'; there are: ${available[*]}" >&2
    exit 2
  fi
  "$bin/bench-$name" "${flags[@]}"
done
