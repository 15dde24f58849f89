#!/bin/sh
# architectures.sh NVCC: that kernels compile without a warning for what a build may add to its own architectures: all of them for
# the oldest, where instructions are missing; for the others the file with the most kinds of instructions. Some 25 s of one core.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

compile() {  # NVCC ARCHITECTURE file...
    nvcc=$1
    architecture=$2
    shift 2
    for file in "$@"; do
        # What ptxas accepts is the question, not its best code.
        "$nvcc" -std=c++17 -I. -fmad=false -Xptxas -O0 -Werror all-warnings -cubin -o "$work/cubin" \
            -gencode="arch=compute_$architecture,code=sm_$architecture" "$file" > "$work/log" 2>&1 ||
            { cat "$work/log"; echo "$file does not compile for sm_$architecture"; exit 1; }
    done
    echo "sm_$architecture: $*"
}

# shellcheck disable=SC2046  # names without spaces
compile "$1" 75 $(find kernels -name '*.cu' ! -name '*_sm90.cu' | sort)
for architecture in 86 89 100 120; do
    compile "$1" "$architecture" kernels/linear/linear.cu
done
