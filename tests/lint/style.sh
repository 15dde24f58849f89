#!/bin/sh
# style.sh [ROOT]: what a script can see of the rules of the house. Prints every line against them, and exits 1 if there is one.
# Words that must not be in the project are put together from pieces, so that this file does not hold them.
# shellcheck disable=SC2016  # awk's own $
set -eu
cd "${1:-.}"
apart='(^|[^a-zA-Z0-9_])'   # before and
ends='([^a-zA-Z0-9_]|$)'    # after a word
layers='kernels runtime loaders models host'
found=$(mktemp)
trap 'rm -f "$found"' EXIT

sources() {  # FOLDER...: the C files below, null-separated
    find "$@" -type f \( -name '*.c' -o -name '*.h' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh' \) -print0 2>/dev/null
}

device_sources() {  # FOLDER...: those for a GPU alone
    find "$@" -type f \( -name '*.cu' -o -name '*.cuh' \) -print0 2>/dev/null
}

texts() {  # every text file that is kept: not what git ignores, not data, not the licences
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard -- . ':!tests/fixtures' ':!tests/fuzz/corpus' ':!LICENSE' ':!weights/manifest'
    else
        find . -type f ! -path './tests/fixtures/*' -print0
    fi
}

check() {  # RULE: the lines on standard input (file:line:text) are against it
    awk -v rule="$1" '{ print $0 "    <- " rule }' >> "$found"
}

# Comments and strings are blanked before code is searched for words.
code() {  # PATTERN, then null-separated files on standard input
    xargs -0r awk -v pattern="$1" '
        FNR == 1 { inside = 0 }
        {
            line = $0
            gsub(/\\./, "", line)
            gsub(/"[^"]*"/, "\"\"", line)
            while (1) {
                if (inside) {
                    end = index(line, "*/")
                    if (!end) { line = ""; break }
                    line = substr(line, end + 2)
                    inside = 0
                }
                start = index(line, "/*")
                if (!start) break
                rest = substr(line, start + 2)
                line = substr(line, 1, start - 1)
                end = index(rest, "*/")
                if (end) line = line " " substr(rest, end + 2)
                else { inside = 1; break }
            }
            sub(/\/\/.*/, "", line)
            if (line ~ pattern) print FILENAME ":" FNR ":" $0
        }'
}

# shellcheck disable=SC2086  # the layers are words
{
    # Tests hold whole JSON texts and tables, where a break would hide more than it helps.
    { sources $layers; device_sources tests profiling; } |
        LC_ALL=C.UTF-8 xargs -0r awk 'length($0) > 132 { print FILENAME ":" FNR ":" substr($0, 1, 60) "..." }' |
        check 'longer than 132 columns'
    sources $layers tests profiling | xargs -0r grep -nH "$(printf '\t')" | check 'a tab' || true
    { sources $layers; device_sources tests profiling; } | code '(^|[^a-zA-Z0-9_])(asm|__asm|__asm__)([^a-zA-Z0-9_]|$)' |
        grep -v -e '^kernels/lanes/' -e '^kernels/cuda/instructions.cuh:' -e '^runtime/threads.c:.*"yield"' \
            -e '^host/command_ceiling.c:' |
        check 'assembly outside kernels/lanes and kernels/cuda/instructions.cuh' || true
    device_sources $layers |
        code "(^|;) *class |$apart(namespace|virtual|operator|throw|try|catch|new|delete|std::[a-z_]*)$ends|[[][&=]?[]] *[({]" |
        check 'kernels are C with __global__' || true
    sources $layers | code '(^|[^a-zA-Z0-9_])(getenv|secure_getenv|environ)([^a-zA-Z0-9_]|$)' |
        grep -v -e '^runtime/options.c:' -e '^host/command' | check 'only runtime/options.c reads the environment' || true
    sources $layers |
        code '(^|[^a-zA-Z0-9_])((v?printf|puts|putchar|perror|abort|exit|_exit|quick_exit|assert) *[(]|stdout|stderr)' |
        grep -v '^host/command' | check 'the library never prints, exits or aborts' || true
    # The options are read before there is a pool, the engine owns the pool, and a cancel flag belongs to no engine.
    sources $layers | code '(^|[^a-zA-Z0-9_])(malloc|calloc|realloc|strn?dup|aligned_alloc|posix_memalign|v?asprintf) *[(]' |
        grep -v -e '^host/command' -e '^host/engine.c:' -e '^host/cancel.c:' -e '^runtime/pool.c:' -e '^runtime/options.c:' |
        check 'memory is taken from the pool' || true
    sources $layers tests profiling | code '-ffast-math|#[ ]*pragma[ ]+GCC[ ]+optimize' | check 'flags that change results' || true
}
texts | xargs -0r grep -nHIE "\\b(TO""DO|FIX""ME|X""XX)\\b" | check 'unfinished work belongs in an issue' || true
hosts="py""pi\\.org|python""hosted|deb\\.deb""ian|registry\\.np""mjs|proxy\\.gol""ang"
paths="(^|[^a-zA-Z0-9_.])/(wo""rk|fa""rm|ro""ot|ho""me)/"
texts | xargs -0r grep -nHIE "$hosts|$paths" | check 'a machine path or a registry host' || true

if [ -s "$found" ]; then
    cat "$found"
    exit 1
fi
echo "style: the rules that a script can see hold"
