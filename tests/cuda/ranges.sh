#!/bin/sh
# ranges.sh BUILD TOOL MAKE_RANDOM_MODEL FAILING: what a profiler is told by NVTX, on the emulated device: TOOL writes it down.
# Ranges end in the order that they have to, lie in each other as runtime/cuda_ranges.h says, and name the plan's layers and ops.
set -eu
recto=$1/emu/recto
tool=$2
make=$3
failing=$4
[ -x "$recto" ] || { echo "$recto is not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
log=$work/log
die() { echo "FAILED: $*" >&2; head -n 60 "$log" >&2; exit 1; }
export RECTO_CACHE="$work/cache" EMU_QUIET=1 RANGES_LOG="$log"

"$make" minilm-l6 "$work/model"
printf 'one\nanother text\n\n' > "$work/texts"
embed() { "$recto" embed --model "$work/model" --device "$1" --format raw --output "$2" "$work/texts"; }

# Without a tool nothing is loaded; with a tool that cannot be, and on the CPU, nothing is told; and vectors are the same.
embed cuda "$work/usual"
NVTX_INJECTION64_PATH=$work/nothing embed cuda "$work/vectors"
cmp "$work/usual" "$work/vectors"
NVTX_INJECTION64_PATH=$tool embed cpu "$work/vectors"
[ ! -e "$log" ] || die 'told of ranges that nobody was to hear of'
export NVTX_INJECTION64_PATH="$tool"
embed cuda "$work/vectors"
cmp "$work/usual" "$work/vectors"

# Every range as the path of names that lead to it, by thread; any violation as a line that begins with an exclamation mark.
paths() {
    awk '{ thread = $1; call = $2; payload = $3 }
         call == "push" {
             name = $0; sub(/^[0-9]+ push [0-9]+ /, "", name)
             path[thread, depth[thread] + 1] = (depth[thread] ? path[thread, depth[thread]] "/" : "") name
             print path[thread, ++depth[thread]] (payload ? " (" payload ")" : "")
             next
         }
         call == "pop" { if (--depth[thread] < 0) print "! a pop without a push"; next }
         call == "domain" { if ($3 != "recto" || domains++) print "! domain " $3; next }
         call == "destroy" && NF == 2 { domains--; next }
         { print "! " $0 }
         END { for (thread in depth) if (depth[thread]) print "! open at the end"; if (domains) print "! a domain is left" }' "$log"
}
right() {  # every path is one of those that are meant to be
    paths > "$work/paths"
    if grep -vE "^(pack/)?run( \\([0-9]+\\)|/(wait|replay|(launch|capture)(/(layer [0-9]+(/[a-z0-9+ ]+)?|[a-z0-9+ ]+|the copy of the (inputs|result)))?))$|^(tokenize|pack)$" \
        "$work/paths"; then die 'a range that is not meant to be'; fi
}
count() { grep -cxE "$1" "$work/paths" || true; }

right
[ "$(count tokenize)" = 1 ] || die 'one window of texts is tokenized'
[ "$(count pack)" = "$(count 'pack/run .*')" ] || die 'a run in each pack'
[ "$(count pack/run/launch)" = 1 ] || die 'the first run is launched'

# A plan that is run often: launched, captured, then replayed, and timed kernel by kernel.
rm "$log"
"$recto" plan --model "$work/model" --device cuda --tokens 48 --sequences 3 --profile "$work/timeline" > "$work/plan"
right
[ "$(count 'run \(48\)')" -ge 9 ] || die 'at least nine runs of 48 tokens'
[ "$(count run/capture)" = 1 ] || die 'one capture'
[ "$(count run/replay)" -ge 5 ] || die 'replays, each one range'
[ "$(count run/launch)" = "$(($(count 'run \(48\)') - $(count run/replay)))" ] || die 'other runs are launched'
[ "$(count run/wait)" = "$(count 'run \(48\)')" ] || die 'each run is waited for'
# Within each launch, and within the capture, every node of the plan in its order.
{
    echo 'the copy of the inputs'
    sed '/^operations/,$d' "$work/plan" | grep -E '^ *[0-9]+ [a-z]' | cut -c16-43 | sed -E 's/ +$//; s/^(layer [0-9]+) /\1\//'
    echo 'the copy of the result'
} > "$work/expected"
for kind in launch capture; do
    sed -n "s|^run/$kind/||p" "$work/paths" | grep -vxE 'layer [0-9]+' > "$work/found"
    times=$(count "run/$kind")
    for _ in $(seq "$times"); do cat "$work/expected"; done | diff - "$work/found" || die "the ops of a $kind"
    [ "$(count "run/$kind/layer [0-9]+")" = "$((2 * times))" ] || die "two layers in a $kind"
done
ranges=$(grep -c push "$log")
# The same where runs fail, at every call: FAILING is a test in which they do.
rm "$log"
"$failing" > "$work/out" 2>&1 || { cat "$work/out" >&2; die 'the test of failing calls'; }
right
[ "$(grep -c push "$log")" -gt "$ranges" ] || die 'few ranges of runs that fail'
echo "ranges: $ranges of a profile, $(grep -c push "$log") of runs that fail: balanced, nested and named"
