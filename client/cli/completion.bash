# Completion of squall's command line for bash: source it, or install it as
# /usr/share/bash-completion/completions/squall

# Names of one kind from the running cluster; nothing when none answers soon.
_squall_names() {
  local kind=$1 lines
  lines=$(squall get "$kind" --timeout 500ms 2>/dev/null) || return 0
  awk 'NR > 1 { print $1 }' <<<"$lines"
}

_squall_reply() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_squall_verb_flags() {
  case $1 in
    apply) echo "--file --replace --dry-run" ;;
    call) echo "--input --deadline --max-cost --assurance --prefer --accept --priority --sequence --sequence-start --sequence-end" ;;
    bench) echo "--input --arrivals --rate --concurrency --duration --warmup --deadline --max-cost --assurance --prefer --seed" ;;
    kv) echo "--fast --to" ;;
    up) echo "--file --name --data --listen --detach" ;;
    down) echo "--name" ;;
    node) echo "--join --listen --keys" ;;
    logs) echo "--name --lines --follow --call" ;;
    doctor) echo "--http --cluster" ;;
    replay) echo "--print" ;;
    whatif) echo "--set --seed --plot" ;;
  esac
}

_squall() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local verbs="up down node standby keys logs replay doctor apply get describe delete call kv policy drain promises explain bench build version sim whatif"
  local shared="--cluster --keys --output --timeout --help"
  local kinds="functions dags nodes instances calls promises keys policy status metrics"
  COMPREPLY=()

  case $previous in
    -o | --output) _squall_reply "table json yaml" "$current" && return ;;
    --arrivals) _squall_reply "poisson constant closed" "$current" && return ;;
    -f | --file | --keys | --data | --to) mapfile -t COMPREPLY < <(compgen -f -- "$current") && return ;;
  esac

  local verb='' position=0 word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      -*) ;;
      *)
        if [[ -z $verb ]]; then
          verb=$word
        else
          position=$((position + 1))
        fi
        ;;
    esac
  done

  if [[ -z $verb ]]; then
    _squall_reply "$verbs $shared" "$current"
  elif [[ $current == -* ]]; then
    _squall_reply "$(_squall_verb_flags "$verb") $shared" "$current"
  else
    _squall_argument "$verb" "$position" "$previous" "$current"
  fi
}

# The positional arguments of a verb.
_squall_argument() {
  local verb=$1 position=$2 previous=$3 current=$4
  case $verb:$position in
    get:0 | describe:0) _squall_reply "$kinds" "$current" ;;
    delete:0) _squall_reply "functions dags keys" "$current" ;;
    get:1 | describe:1 | delete:1) _squall_reply "$(_squall_names "$previous")" "$current" ;;
    call:0 | bench:0) _squall_reply "$(_squall_names dags) $(_squall_names functions)" "$current" ;;
    kv:0) _squall_reply "put get delete list" "$current" ;;
    kv:1) _squall_reply "$(_squall_names keys)" "$current" ;;
    policy:0) _squall_reply "get set" "$current" ;;
    policy:1) _squall_reply "none fifo rr balance calendar srtf mlfq exclusive clockwork clockwork-naive thesis" "$current" ;;
    sim:0) _squall_reply "run workload kaas pareto hybrid" "$current" ;;
    keys:0) _squall_reply "new" "$current" ;;
    replay:*) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
  esac
}

complete -F _squall squall
