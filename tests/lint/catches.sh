#!/bin/sh
# catches.sh: plants one violation of each rule in a small tree of its own, and expects the lint to name it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checks=0

fresh() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/kernels/lanes" "$work/tree/runtime" "$work/tree/loaders" "$work/tree/models" "$work/tree/host"
    printf '#include "runtime/pool.h"\n#include "kernels/dtype.h"\n#include <stdio.h>\n' > "$work/tree/loaders/file.c"
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

long=$(printf '%0140d' 1)
expect style models/bert.c "int x = $long;" 'longer than 132'
expect style models/bert.c "$(printf '\tint x;')" 'a tab'
expect style runtime/plan.c '__asm__ volatile("nop");' 'assembly'
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
for name in one other early; do
    (cd "$work" && cc -c "$name.c" && ar rcs "$name.a" "$name.o")
done
sh "$here/symbols.sh" "$work/one.a" > "$work/out" || { cat "$work/out"; exit 1; }
if sh "$here/symbols.sh" "$work/other.a" > "$work/out"; then echo "a symbol without recto_ was not caught"; exit 1; fi
grep -q 'without recto_: other' "$work/out"
if sh "$here/symbols.sh" "$work/early.a" > "$work/out"; then echo "a constructor was not caught"; exit 1; fi
grep -q 'init_array' "$work/out"
echo "lint: $((checks + 3)) planted violations caught"
