#!/bin/sh
# profiling/nsight: how Nsight's programs are called, by stand-ins that write down their arguments.
set -eu
cd -- "$(dirname -- "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mkdir "$work/bin" "$work/tree"
for tool in nsys ncu; do
    # shellcheck disable=SC2016  # of the script that is written
    printf '#!/bin/sh\nprintf "%%s|" "${0##*/}" "$@" >> "%s"\necho >> "%s"\n' "$work/calls" "$work/calls" > "$work/bin/$tool"
    chmod +x "$work/bin/$tool"
done
scripts=$PWD/profiling/nsight
cd "$work/tree"
die() { echo "FAILED: $*" >&2; cat "$work/calls" >&2; exit 1; }
call() { rm -f "$work/calls"; script=$1; shift; PATH=$work/bin:$PATH "$scripts/$script" "$@"; }
called() { grep -qF -- "$1" "$work/calls" || die "no call with '$1'"; }

for script in timeline kernel; do
    "$scripts/$script" --help | grep -q "^usage: profiling/nsight/$script" || die "$script --help"
    for words in '' 'name' '--range' '--nonsense name command'; do
        code=0
        # shellcheck disable=SC2086  # words
        "$scripts/$script" $words 2> /dev/null || code=$?
        [ "$code" = 2 ] || die "$script $words: exit $code"
    done
    if command -v nsys ncu > /dev/null; then continue; fi
    if "$scripts/$script" name command 2> "$work/calls"; then die "$script works without its tool"; fi
    called 'is not installed'
done
call timeline one recto embed 'a file'
called '|--output|build/nsight/one|recto|embed|a file|'
called '|build/nsight/one.nsys-rep|'
if grep -q capture-range "$work/calls"; then die 'a part was recorded'; fi
call timeline --range run one recto
called '|--capture-range|nvtx|--nvtx-capture|run@recto|'
called '|recto|'
call kernel linear recto embed
called 'ncu|--kernel-name|regex:linear|--launch-count|10|'
called '|--export|build/nsight/linear|recto|embed|'
call kernel --range 'layer 3' --launches 2 . recto
called '|--launch-count|2|'
called '|--nvtx|--nvtx-include|recto@layer 3/|recto|'
call kernel --range 'run/*/attention' . recto
called '|--nvtx-include|recto@run/*/attention|recto|'
called '|build/nsight/_run___attention.ncu-rep|'
echo 'nsight: both scripts call their tools as they should'
