#!/bin/sh
# twins.sh [ROOT]: every function of instructions.cuh has a twin in the emulator and is named in a conformance case; no twin is left over.
set -eu
cd "${1:-.}"
names() { grep -oE "(DEVICE|inline) [a-z0-9_]+ \*?[a-z0-9_]+\(" "$1" | sed 's/.*[ *]//; s/($//' | LC_ALL=C sort -u; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
names kernels/cuda/instructions.cuh > "$work/instructions"
names tests/emu/instructions_emu.inl > "$work/twins"
if ! diff "$work/instructions" "$work/twins" > "$work/differences"; then
    echo "functions of instructions.cuh (<) and twins (>) that have no counterpart:"
    cat "$work/differences"
    exit 1
fi
while read -r name; do
    grep -qw -- "$name" tests/emu/conformance/*.cu || { echo "no conformance case calls $name"; exit 1; }
done < "$work/instructions"
echo "$(wc -l < "$work/instructions") instructions, each with a twin and a conformance case"
