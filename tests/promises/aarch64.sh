#!/bin/sh
# The same bits on 64-bit ARM: vectors of tests/tools/embed_pack, cross-compiled and run by an emulator on weights that were
# packed here, against those of the command; in fp32 and int8, and in bf16, by NEON and by the scalar reference.
#   aarch64.sh EMBED_PACK      run in the project's root; the argument is the program for ARM; RECTO_BUILD names the build
set -eu
other=$1
build=${RECTO_BUILD:-build}
user_cache=${RECTO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recto}
minilm=$user_cache/models/all-minilm-l6-v2
[ -d "$minilm" ] || { echo "no folder $minilm: run weights/fetch all-minilm-l6-v2" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export RECTO_CACHE="$scratch/cache"
failed=0

expect() {  # WHAT FILE: its SHA-256 is that of the command's vectors
    found=$(sha256sum < "$2")
    if [ "$found" = "$pinned" ]; then
        echo "same   $1"
    else
        echo "DIFFER $1"
        failed=1
    fi
}

compare() {  # NAME FOLDER POOLING TEXTS ARM_INSTRUCTIONS...
    name=$1 folder=$2 pooling=$3 texts=$4
    shift 4
    "$build/recto" tokenize --model "$folder" "$texts" | sed 's/.*"ids":\[\([^]]*\)\].*/\1/; s/,/ /g' > "$scratch/ids"
    for precision in fp32 bf16 int8; do
        "$build/recto" embed --quiet --model "$folder" --precision "$precision" --format raw --output "$scratch/here" "$texts"
        pinned=$(sha256sum < "$scratch/here")
        pack=$(ls "$RECTO_CACHE/packed/"*"-$precision.pack")
        "$build/tests/embed_pack" "$pack" "$pooling" "" < "$scratch/ids" > "$scratch/vectors"
        expect "$name $precision embed_pack on this processor" "$scratch/vectors"
        for instructions in "$@"; do
            qemu-aarch64 -L /usr/aarch64-linux-gnu "$other" "$pack" "$pooling" "$instructions" < "$scratch/ids" > "$scratch/vectors"
            expect "$name $precision aarch64 $instructions" "$scratch/vectors"
        done
    done
    rm -rf "$RECTO_CACHE/packed"
}

printf '%s\n' 'a river' 'The old bridge.' 'Seven clerks weighed the ledger at noon' > "$scratch/few"
printf '%s\n' 'the harbour light' 'night train' > "$scratch/two"
for model in minilm-l6:mean last-token:last arctic-xs:cls; do
    "$build/tests/make_random_model" "${model%:*}" "$scratch/model"
    compare "${model%:*}" "$scratch/model" "${model#*:}" "$scratch/few" neon ref
    rm -rf "$scratch/model"
done
compare all-minilm-l6-v2 "$minilm" mean "$scratch/two" neon
exit "$failed"
