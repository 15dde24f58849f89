#!/bin/sh
# `recto plan --profile` on the CPU and on the emulated CUDA device: the timeline holds together, its costs are the plan's, and
# the table adds up to it.
#   profile.sh MAKE_RANDOM_MODEL TIMELINE_CHECK     run in the project's root; RECTO_BUILD names the folder of the build
set -eu
make=$1
check=$2
build=${RECTO_BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
die() { echo "FAILED: $*" >&2; cat "$work/table" "$work/ops" >&2; exit 1; }

"$make" minilm-l6 "$work/model"
export RECTO_CACHE="$work/cache"

profile() {  # COMMAND ARGUMENT...: the table, and what the check says of the timeline
    recto=$1
    shift
    "$recto" plan --model "$work/model" --tokens 48 --sequences 3 --profile "$work/timeline" "$@" > "$work/plan"
    "$check" "$work/timeline" > "$work/ops" || { cat "$work/timeline" >&2; exit 1; }
    sed -n '/^the shortest of some runs/,$p' "$work/plan" > "$work/table"
    # Node, op, label, MFLOP and KiB moved, as the plan has them and as the timeline has them.
    sed '/^operations/,$d' "$work/plan" | grep -E '^ *[0-9]+ [a-z]' | cut -c1-43,92-112 > "$work/expected"
    grep -E '^ *[0-9]+ ' "$work/ops" | cut -c1-64 | diff - "$work/expected" >&2 || die 'costs are not those of the plan'
    # Nodes, and microseconds, of all lines of the table are those of the ops: each line is rounded to a tenth.
    awk 'FNR == NR { if ($1 + 0 == $1) { nodes++; us += $NF }; next }
         $2 == "x" { lines++; n += $1; t += substr($0, 50, 10) }
         END { exit !(lines && n == nodes && t - us < 0.06 * nodes && us - t < 0.06 * nodes) }' "$work/ops" "$work/table" ||
        die 'the table does not add up to the timeline'
}
says() { grep -qE -- "$1" "$work/$2" || die "no '$1' in the $2"; }

# The table's rates by its own times are what was computed and moved, but for rounding.
for threads in 1 2; do
    profile "$build/recto" --device cpu --precision fp32 --threads "$threads"
    says "^threads [1-$threads], kernels 0, .* replay 0\\.0$" ops
    awk 'FNR == NR { if ($1 + 0 == $1) { flop += substr($0, 44, 10); kib += substr($0, 55, 10) }; next }
         $2 == "x" { us = substr($0, 50, 10); f += us * substr($0, 61, 12); b += us * substr($0, 74, 10) / 1.024 }
         END { exit !(f > 0.98 * flop && f < 1.02 * flop && b > 0.97 * kib && b < 1.03 * kib) }' "$work/ops" "$work/table" ||
        die 'the rates of the table are not those of the plan'
    says '^ +2 x attention .* [0-9.]+ %$' table
    says '^limits measured now: fp32 .* memory ' table
    if says_nothing=$(grep -c graph "$work/table"); then die "$says_nothing lines speak of graphs on the CPU"; fi
done

emulated=$build/emu/recto
[ -x "$emulated" ] || { echo "profile: on the CPU; $emulated is not built"; exit 0; }
export EMU_QUIET=1
profile "$emulated" --device cuda
says '^threads 1, kernels [1-9]' ops
says 'bf16 16\.384 TFLOP/s, fp8 32\.768 TFLOP/s, memory 256\.000 GB/s' table  # of the emulated clocks
says '^ +2 x linear +1152 x 384 BF16 .* [0-9.]+ %$' table
says '^the run as the engine computes it +[0-9.]+, replayed as one graph' table
says 'replay [0-9.]*[1-9]' ops
# Boards of 8.6 differ: no share where bf16 counts, but where memory or fp32 do.
EMU_RUNTIME_ARCHITECTURE=86 profile "$emulated" --device cuda
says '^ +2 x linear +1152 x 384 BF16 .* -$' table
says '^ +1 x norm .* [0-9.]+ %$' table
if grep -q 'bf16 [0-9.]* TFLOP' "$work/table"; then die 'a limit that nobody knows'; fi
echo 'profile: the timelines hold together, and the tables add up to them'
