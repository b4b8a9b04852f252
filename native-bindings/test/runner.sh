# Sourced by the runners: what a mode means, compiling, fuzzing. Objects, corpora and what a fuzzer finds lie in .build/native/.

set -euo pipefail
runner=$(realpath "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

# begin NAME MODE: a directory for the two, and one for the objects of a mode, of which runners have many in common.
begin() {
  mode=$2
  build=../.build/native/$1-$mode
  compiled=../.build/native/objects-$mode
  flags=(-std=c++20 -g -Wall -Wextra -Werror -pthread -Isrc)
  objects=()
  local checks=(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  case $mode in
    plain | measure) flags+=(-O2) ;;
    asan) flags+=(-O1 "${checks[@]}") ;;
    tsan) flags+=(-O1 -fsanitize=thread) ;;
    fuzz)
      flags+=(-O1 -fsanitize=fuzzer-no-link "${checks[@]}")
      CXX=$(command -v clang++ || compgen -G '/usr/bin/clang++-*' | sort -V | tail -n 1) ||
        { echo 'fuzzing needs clang' >&2; exit 2; }
      ;;
    *) usage ;;
  esac
  mkdir -p "$build" "$compiled"
}

# The comment at the top of the runner.
usage() {
  sed -n '2,/^$/s/^# //p' "$runner" >&2
  exit 2
}

# Compiles what is newer than its object, or older than a header. Two runners at once do not see half an object.
compile() {
  local source object
  for source; do
    object=$compiled/$(basename "$source" .cc).o
    if [[ ! $object -nt $source || -n $(find src test -name '*.h' -newer "$object") ]]; then
      "${CXX:-g++}" "${flags[@]}" -c -o "$object.$$" "$source"
      mv "$object.$$" "$object"
    fi
    objects+=("$object")
  done
}

# link NAME [FLAG...]: all that was compiled.
link() {
  "${CXX:-g++}" "${flags[@]}" -o "$build/$1" "${objects[@]}" "${@:2}"
}

# Little-endian bytes of a number: le VALUE BYTES.
le() {
  local index
  for ((index = 0; index < $2; index++)); do
    printf "\\x$(printf %02x $(($1 >> (8 * index) & 255)))"
  done
}

# fuzz TARGET SECONDS MAX-LENGTH [FLAG...]: from what lies in seeds-TARGET, and what earlier runs found worth keeping.
fuzz() {
  local target=$1 log=$build/$1.log
  "${CXX:-g++}" "${flags[@]}" -fsanitize=fuzzer -o "$build/$target" "test/$target.cc" \
    "${objects[@]}" "${@:4}"
  mkdir -p "$build/corpus-$target" "$build/seeds-$target"
  if ! "$build/$target" -max_total_time="$2" -max_len="$3" -timeout=25 -print_final_stats=1 \
    -artifact_prefix="$build/$target-" "$build/corpus-$target" "$build/seeds-$target" \
    >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    return 1
  fi
  printf '%s: %s executions, %s inputs in the corpus\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$(find "$build/corpus-$target" -type f | wc -l)"
}
