#!/usr/bin/env bash
# The demo: a cluster of processes on this host reads documents, lines and files with real models, and is compared with the same models called directly.
# `./dev demo ARGS` builds what it needs and runs it; examples/demo/README.md says what the table means.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
build=${SQUALL_BUILD:-$root/build}
python=${SQUALL_VENV:-$build/venv}/bin/python
models=${SQUALL_MODELS:-$build/models}
out=$build/demo

# Enough for the cascade's gain to show, few enough for a minute in all on two cores.
pages=6
lines=32
files=120
seed=7
lanes=2 # a lane a node
outstanding=8
pictures=
json=false

usage() {
  cat <<'USAGE'
usage: ./dev demo [--items N] [--seed S] [--pictures DIR] [--json]

  --items N       pictures and files of each kind (default: 6 pages, 32 lines, 120 files)
  --seed S        which pictures are drawn and which files are chosen (default: 7)
  --pictures DIR  reads somebody else's pictures: DIR/truth.json and the files that it names, lines or pages
  --json          prints the rows as JSON, one object a line, and nothing else
USAGE
}

die() {
  echo "demo: $*" >&2
  exit 1
}

say() { printf '[%3ds] %s\n' "$SECONDS" "$*" >&2; }

positive() { [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || { echo "demo: $1 takes a number from 1 to 999999, not '$2'" >&2; exit 2; }; }

parse() {
  while (($# > 0)); do
    case $1 in
      --items | --seed | --pictures)
        (($# > 1)) || { echo "demo: $1 needs a value" >&2; exit 2; }
        case $1 in
          --items)
            positive "$1" "$2"
            pages=$2 lines=$2 files=$2
            ;;
          --seed)
            positive "$1" "$2"
            seed=$2
            ;;
          --pictures) pictures=$2 ;;
        esac
        shift
        ;;
      --json) json=true ;;
      -h | --help)
        usage
        exit 0
        ;;
      *)
        usage >&2
        exit 2
        ;;
    esac
    shift
  done
}

# ---- what is read

# drawn KIND COUNT: prints the folder of these pictures, drawn now unless they were before. Picture i of a seed is the same whatever the count, and the list is
# written last, so that a run which was interrupted begins anew.
drawn() {
  local folder=$out/$1-$seed-$2
  if [[ ! -f $folder/truth.json ]]; then
    say "drawing $2 $1"
    "$python" "$root/examples/demo/render.py" "$1" --count "$2" --seed "$seed" --out "$folder" >&2
  fi
  echo "$folder"
}

# Prints the folder with the list of files of this host; chosen again each time, since files come and go.
chosen_files() {
  local folder=$out/files-$seed-$files
  "$python" "$root/examples/demo/files.py" --count "$files" --seed "$seed" --out "$folder" >&2
  echo "$folder"
}

# Prints "lines" or "pages".
kind_of() {
  [[ -f $1/truth.json ]] || die "$1/truth.json is not there; examples/demo/README.md says what it holds"
  "$python" - "$1/truth.json" <<'PYTHON'
import json
import sys

try:
    truth = json.load(open(sys.argv[1]))
    print("pages" if "lines" in truth[0] else "lines")
except (OSError, ValueError, LookupError, TypeError) as problem:
    sys.exit(f"demo: {sys.argv[1]} is no list of pictures: {problem}")
PYTHON
}

# ---- the cluster

cluster=squall-demo-$$

start_cluster() {
  rm -rf "$out/cluster"
  mkdir -p "$out/cluster"
  cat >"$out/cluster/cluster.yaml" <<YAML
apiVersion: squall/v1
kind: Cluster
metadata: {name: $cluster}
spec:
  data: $out/cluster/data
  policy: balance
  nodes:
  - {name: n1, slots: 1}
  - {name: n2, slots: 1}
YAML
  trap stop_cluster EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  say "starting a store, a controller and two nodes"
  "$build/bin/squall" up -d -f "$out/cluster/cluster.yaml" >&2 || die "the cluster does not start; its logs are in $out/cluster/data/logs"
}

stop_cluster() {
  trap - EXIT
  "$build/bin/squall" down --name "$cluster" >/dev/null 2>&1 || true
}

endpoint() {
  "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["endpoint"])' \
    "${XDG_RUNTIME_DIR:-/tmp}/squall-$(id -u)/$cluster.json"
}

# ---- the runs

# compare PIPELINE FOLDER PRECISION: adds the next row that was served, and what its pipeline and models take without Squall, to the rows.
served=()
compare() {
  say "$1 ($3) directly, without Squall"
  printf '%s\n' "${served[0]}" >>"$out/rows.jsonl"
  served=("${served[@]:1}")
  "$build/bin/squall-direct" "$1" --data "$2" --precision "$3" --models "$models" --threads "$lanes" \
    --trusted "$root/examples/file-type-trusted.txt" >>"$out/rows.jsonl"
}

main() {
  local page_folder='' line_folder='' file_folder='' demo_arguments=()
  parse "$@"
  for program in squall squall-model-host squall-demo squall-direct; do
    [[ -x $build/bin/$program ]] || die "$build/bin/$program is not built; run ./dev demo"
  done
  mkdir -p "$out"
  if [[ -n $pictures ]]; then
    case $(kind_of "$pictures") in
      pages) page_folder=$pictures ;;
      lines) line_folder=$pictures ;;
      *) exit 1 ;;
    esac
  else
    page_folder=$(drawn pages "$pages")
    line_folder=$(drawn lines "$lines")
    file_folder=$(chosen_files)
  fi
  for kind in page line file; do
    local folder=${kind}_folder
    if [[ -n ${!folder} ]]; then demo_arguments+=("--${kind}s" "${!folder}"); fi
  done

  start_cluster
  say "serving the pipelines from it"
  "$build/bin/squall-demo" --cluster "$(endpoint)" --examples "$root/examples" \
    --lanes "$lanes" --outstanding "$outstanding" "${demo_arguments[@]}" >"$out/served.jsonl"
  say "taking it down"
  stop_cluster

  # In the order in which squall-demo prints its rows.
  : >"$out/rows.jsonl"
  mapfile -t served <"$out/served.jsonl"
  if [[ -n $page_folder ]]; then compare document-reader "$page_folder" bf16; fi
  if [[ -n $line_folder ]]; then
    compare read-line "$line_folder" f32
    compare read-line "$line_folder" bf16
    compare read-line-vote "$line_folder" bf16
  fi
  if [[ -n $file_folder ]]; then compare file-type "$file_folder" f32; fi

  say "drawing $out/demo.png"
  "$python" "$root/examples/demo/plot.py" "$out/rows.jsonl" "$out/demo.png" >&2
  if $json; then
    cat "$out/rows.jsonl"
  else
    "$python" "$root/examples/demo/table.py" "$out/rows.jsonl"
    echo "rows: $out/rows.jsonl, plot: $out/demo.png"
  fi
  say "done"
}

main "$@"
