#!/usr/bin/env bash
# The completion of the command line: completion_test.sh SQUALL COMPLETION
set -euo pipefail

squall=$1
bash -n "$2"
# shellcheck source=client/cli/completion.bash
source "$2"

fail() {
  echo "completion: $*" >&2
  exit 1
}

# expect WANTED WORDS...: the last word is the one being completed.
expect() {
  local wanted=$1
  shift
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  _squall
  [[ ${COMPREPLY[*]} == "$wanted" ]] || fail "'$*' gave '${COMPREPLY[*]}', not '$wanted'"
}

expect get squall ge
expect put squall kv pu
expect --deadline squall call --dead
expect json squall get dags -o j
expect dags squall get dag
expect closed squall bench x --arrivals cl

# Every verb that the program lists is completed.
COMP_WORDS=(squall "")
COMP_CWORD=1
_squall
while read -r verb; do
  [[ " ${COMPREPLY[*]} " == *" $verb "* ]] || fail "the verb '$verb' is missing"
done < <("$squall" --help | awk '/^Subcommands:/ { on = 1; next } on && /^  [a-z]/ { print $1 }')
