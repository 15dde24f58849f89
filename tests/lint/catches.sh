#!/bin/sh
# catches.sh: plants one violation of each rule in a small tree of its own, and expects the lint to name it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checks=0

fresh() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/kernels/lanes" "$work/tree/kernels/cuda" "$work/tree/kernels/norm" "$work/tree/tests/emu" "$work/tree/runtime" "$work/tree/loaders" "$work/tree/models" "$work/tree/host"
    printf '#include "runtime/pool.h"\n#include "kernels/dtype.h"\n#include <stdio.h>\n' > "$work/tree/loaders/file.c"
    printf '#include <cuda_bf16.h>\nasm volatile("bar.sync 0;");\n' > "$work/tree/kernels/cuda/instructions.cuh"
    printf '#include "kernels/cuda/instructions.cuh"\nextern "C" int no_class(int *x) { return x[0]; }\n' > "$work/tree/kernels/norm/norm.cu"
    printf '/* printf, in a comment */\n#include "models/bert.h"\n' > "$work/tree/host/engine.c"
}

lint() { sh "$here/$1.sh" "$work/tree" > "$work/out" 2>&1; }

expect() {  # LINT FILE TEXT WORDS: TEXT at the end of FILE makes LINT fail with WORDS
    fresh
    printf '%s\n' "$3" >> "$work/tree/$2"
    if lint "$1"; then echo "$1 did not catch '$3' in $2"; exit 1; fi
    grep -F -- "$2" "$work/out" | grep -qF -- "$4" || { echo "$1 on '$3' in $2 said:"; cat "$work/out"; exit 1; }
    checks=$((checks + 1))
}

for name in includes style; do
    fresh
    lint $name || { echo "$name fails on a tree without violations:"; cat "$work/out"; exit 1; }
done

expect includes kernels/lanes/a.h '#include "runtime/pool.h"' 'kernels may include only: kernels'
expect includes runtime/plan.c '#include "models/bert.h"' 'runtime may include only'
expect includes runtime/plan.c '#  include "loaders/json.h"' 'runtime may include only'
expect includes loaders/json.c '#include "models/bert.h"' 'loaders may include only'
expect includes loaders/json.c '#include "kernels/kernels.h"' 'loaders may include only'
expect includes models/bert.c '#include "loaders/safetensors.h"' 'models may include only'
expect includes models/bert.c '#include "host/recto.h"' 'models may include only'
expect includes host/engine.c '#include "tests/support/compare.h"' 'host may include only'
expect includes models/bert.c '#include "parameters.h"' 'named from the root'
expect includes models/bert.c '#include "models/../loaders/json.h"' 'named from the root'
expect includes models/bert.c '#include HEADER' 'hides what is included'
expect includes models/bert.c '#include <loaders/json.h>' 'named in quotes'
expect includes runtime/plan.c '#include <jansson.h>' 'only loaders and host'
expect includes kernels/norm/norm.cu '#include "runtime/pool.h"' 'kernels may include only: kernels'
expect includes kernels/cuda/instructions.cuh '#include "tests/emu/cuda_emu.h"' 'kernels may include only: kernels'
expect includes host/engine.c '#include <cuda_runtime_api.h>' 'only kernels and runtime know CUDA'

long=$(printf '%0140d' 1)
expect style models/bert.c "int x = $long;" 'longer than 132'
expect style models/bert.c "$(printf '\tint x;')" 'a tab'
expect style runtime/plan.c '__asm__ volatile("nop");' 'assembly'
expect style kernels/norm/norm.cu 'asm volatile("" ::: "memory");' 'assembly'
expect style kernels/norm/norm_sm90.cu 'asm' 'assembly'
expect style kernels/cuda/fragments.cuh '__asm__("nanosleep.u32 1;");' 'assembly'
expect style tests/emu/kernel.cu 'asm("trap;");' 'assembly'
expect style kernels/norm/norm.cu "/* $long */" 'longer than 132'
expect style tests/emu/kernel.cu "/* $long */" 'longer than 132'
expect style kernels/norm/norm.cu 'std::vector<int> rows;' 'kernels are C'
expect style kernels/norm/norm.cu 'auto sum = [&](int i) { return i; };' 'kernels are C'
expect style kernels/norm/norm.cu 'float *y = new float[3];' 'kernels are C'
expect style kernels/cuda/rows.cuh 'class rows {};' 'kernels are C'
expect style host/engine.c 'char *home = getenv("HOME");' 'reads the environment'
expect style loaders/json.c 'int x; /* well */ printf("%d", x);' 'never prints'
expect style runtime/plan.c 'if (wrong) abort();' 'never prints, exits or aborts'
expect style runtime/plan.c 'void *block = malloc(3);' 'taken from the pool'
expect style host/engine.c "/* TO""DO: later */" 'unfinished'
expect style host/engine.c "/* see /wo""rk/notes */" 'machine path'

# The archive: a symbol of another name, and a constructor.
printf 'int recto_one(void);\nint recto_one(void) { return 1; }\n' > "$work/one.c"
printf 'int other(void);\nint other(void) { return 1; }\n' > "$work/other.c"
printf '__attribute__((constructor)) static void early(void) {}\nint recto_two(void);\nint recto_two(void) { return 2; }\n' > "$work/early.c"
printf 'extern int cudaFree(void *);\nint recto_three(void);\nint recto_three(void) { return cudaFree(0); }\n' > "$work/open.c"
for name in one other early open; do
    (cd "$work" && cc -c "$name.c" && ar rcs "$name.a" "$name.o")
done
sh "$here/symbols.sh" "$work/one.a" > "$work/out" || { cat "$work/out"; exit 1; }
if sh "$here/symbols.sh" "$work/other.a" > "$work/out"; then echo "a symbol without recto_ was not caught"; exit 1; fi
grep -q 'without recto_: other' "$work/out"
if sh "$here/symbols.sh" "$work/early.a" > "$work/out"; then echo "a constructor was not caught"; exit 1; fi
grep -q 'init_array' "$work/out"
if sh "$here/symbols.sh" "$work/open.a" > "$work/out"; then echo "an open symbol of CUDA's was not caught"; exit 1; fi
grep -q 'left open: cudaFree' "$work/out"
mkdir "$work/objects"
cp "$work/one.o" "$work/objects/one.c.o"
sh "$here/symbols.sh" "$work/early.a" "$work/objects" > "$work/out" || { cat "$work/out"; exit 1; }
cp "$work/early.o" "$work/objects/early.c.o"
if sh "$here/symbols.sh" "$work/early.a" "$work/objects" > "$work/out"; then echo "a constructor among objects was not caught"; exit 1; fi
echo "lint: $((checks + 5)) planted violations caught"
