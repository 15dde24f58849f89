#!/bin/sh
# masked.sh BUILD: builds a small CUDA program without what a machine may have in the search paths of every compiler, so that a
# missing -I or -L is seen, and runs it. As root the folders of such paths are hidden too, in a namespace of this script's own.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$1/cuda-masked

if [ "${2:-}" != hidden ]; then
    unset CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH LIBRARY_PATH LD_LIBRARY_PATH CUDA_HOME CUDA_PATH
    unset NVCC_PREPEND_FLAGS NVCC_APPEND_FLAGS
    nvcc=$("$here/../../scripts/cuda_toolkit" --where compiler)
    [ -n "$nvcc" ] || { echo "no CUDA compiler: make cuda-toolkit gets one"; exit 77; }
    # What is on PATH may be a script elsewhere that calls the compiler: the compiler itself says where it lies.
    CUDACXX=$("$nvcc" --dryrun -x cu -E /dev/null 2>&1 | sed -n 's/^#\$ _HERE_=//p')/nvcc
    [ -x "$CUDACXX" ] || { echo "$nvcc does not say where the compiler lies: $CUDACXX"; exit 1; }
    CUDACXX=$(readlink -f "$CUDACXX")
    export CUDACXX
    if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
        exec unshare -m sh "$0" "$1" hidden
    fi
    echo "masked: only the environment; hiding folders takes root"
else
    # /usr/local anew: all that was in it but what compilers search, and but other toolkits. A link to a toolkit's folder cannot be
    # covered by itself: a mount on it would cover the toolkit.
    local=$(mktemp -d)
    mount --bind /usr/local "$local"
    mount -t tmpfs none /usr/local
    for path in "$local"/*; do
        folder=/usr/local/${path##*/}
        case $folder in
            */include | */lib | */lib64) continue ;;
            */cuda*) case $CUDACXX in "$folder"/*) ;; *) continue ;; esac ;;
        esac
        if [ -d "$path" ] && [ ! -L "$path" ]; then mkdir "$folder" && mount --bind "$path" "$folder"; fi
    done
    umount --lazy "$local"
    rmdir "$local"
    for header in cuda_runtime_api.h cuda_fp16.h nv/target nvtx3/nvToolsExt.h; do
        if echo "#include <$header>" | cc -E -x c - > /dev/null 2>&1; then
            echo "$header is still found by every compiler"
            exit 1
        fi
    done
    if echo 'int main(void) { return 0; }' | cc -x c - -lcudart_static -o /dev/null 2>/dev/null; then
        echo "libcudart_static.a is still found by every compiler"
        exit 1
    fi
fi

rm -rf "$work"
mkdir -p "$work"
if ! { cmake -G Ninja -S "$here" -B "$work" && cmake --build "$work"; } > "$work/log" 2>&1; then
    cat "$work/log"
    exit 1
fi
"$work/probe"
if grep 'without ranges' "$work/log"; then exit 1; fi
needed=$(readelf --dynamic "$work/probe" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tr '\n' ' ')
echo "built by $CUDACXX; needs $needed"
case $needed in *libstdc++* | *libcud*) echo "expected a program of C alone"; exit 1 ;; esac
rm -rf "$work"
