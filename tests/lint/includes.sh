#!/bin/sh
# includes.sh [ROOT]: folders are layers, and includes point one way: host -> models -> runtime -> kernels, loaders -> runtime.
# Names the first include against that, and exits 1. Every header of a library from outside stands behind one layer.
# shellcheck disable=SC2016  # awk's own $
set -eu
cd "${1:-.}"

# Of each layer, the layers that it may include; of the kernels the loaders know the names of element types alone.
find kernels runtime loaders models host -type f \
    \( -name '*.c' -o -name '*.h' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh' \) 2>/dev/null | LC_ALL=C sort |
xargs awk '
    BEGIN {
        may["kernels"] = "kernels"
        may["runtime"] = "runtime kernels"
        may["loaders"] = "loaders runtime kernels/dtype.h"
        may["models"]  = "models runtime kernels"
        may["host"]    = "host models loaders runtime kernels"
        known = "^(kernels|runtime|loaders|models|host|tests|profiling)/"
    }
    function fail(why) {
        printf "%s:%d: %s\n", FILENAME, FNR, why
        failed = 1
        exit 1
    }
    /^[ \t]*#[ \t]*include/ {
        layer = FILENAME
        sub(/\/.*/, "", layer)
        name = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
        if (name ~ /^</) {
            if (name ~ /^<(kernels|runtime|loaders|models|host|tests|profiling)\// || name ~ /^<recto/)
                fail("includes " name ": headers of the project are named in quotes, from its root")
            if (name ~ /^<(jansson|xxhash)/ && layer != "loaders" && layer != "host")
                fail("includes " name ": only loaders and host know libraries from outside")
            if (name ~ /^<(cuda|cudnn|cublas|nvrtc|nvtx|mma|cooperative_groups|crt\/|cub\/|thrust\/)/ && layer != "kernels" && layer != "runtime")
                fail("includes " name ": only kernels and runtime know CUDA")
            next
        }
        if (name !~ /^"/)
            fail("includes " name ", which hides what is included")
        sub(/^"/, "", name)
        sub(/".*/, "", name)
        if (name ~ /\.\./ || name !~ known)
            fail("includes \"" name "\": headers are named from the root of the project")
        count = split(may[layer], allowed, " ")
        for (i = 1; i <= count; i++)
            if (name == allowed[i] || index(name, allowed[i] "/") == 1)
                next
        fail("includes \"" name "\"; " layer " may include only: " may[layer])
    }
    END {
        if (!failed && NR == 0) { print "no source file was found"; exit 1 }
    }'
echo "includes point one way"
