#!/bin/sh
# symbols.sh ARCHIVE [OBJECTS]: librecto.a is one object, defines no global symbol but recto_*, has nothing that runs before main,
# and leaves open only what the C library and the maths library have. With CUDA inside, whose compiler registers kernels before
# main, OBJECTS is the folder of our own object files, and these are looked at one by one instead.
set -eu
archive=$1
objects=${2:-}
fail() { echo "$archive: $*"; exit 1; }

[ "$(ar t "$archive" | wc -l)" = 1 ] || fail "expected one object, found $(ar t "$archive" | wc -l)"
symbols=$(nm --extern-only --defined-only "$archive" | awk 'NF == 3 { print $3 }')
[ -n "$symbols" ] || fail "no global symbol"
strange=$(printf '%s\n' "$symbols" | grep -v '^recto_' | head -n 3 | tr '\n' ' ') || true
[ -z "$strange" ] || fail "global symbols without recto_: $strange"
if [ -n "$objects" ]; then
    sections() { find "$objects" -name '*.c.o' -exec readelf --wide --sections {} +; }
else
    sections() { readelf --wide --sections "$archive"; }
fi
[ -n "$(sections)" ] || fail "no object file in $objects"
early=$(sections | grep -oE '\.(preinit_array|init_array|fini_array|ctors|dtors|init|fini)\b' | head -n 1) || true
[ -z "$early" ] || fail "section $early: something would run before main or after it"
open=$(nm --undefined-only "$archive" | awk 'NF == 2 { print $2 }' | grep -E '^(json|hashtable|XXH|utf8proc|recto|cuda|cu[A-Z]|__cuda|_Z|__gxx|__cxa_[^af])' | head -n 3 | tr '\n' ' ') || true
[ -z "$open" ] || fail "symbols left open: $open"
echo "$archive: $(printf '%s\n' "$symbols" | wc -l) global symbols, all recto_; nothing runs before main"
