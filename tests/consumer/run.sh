#!/bin/sh
# run.sh CASE BUILD: recto as other projects meet it, from the tree that is built in BUILD; run in the project's root.
#   header        host/recto.h alone, as C11 and as C++17, with all warnings as errors
#   pkg_config    an installed tree, through pkg-config
#   find_package  an installed tree, through CMake's find_package
#   moved         the installed tree in another place than it was installed to
#   subdirectory  the sources, through add_subdirectory
#   cuda          an installed tree beside a CUDA runtime of the program's own, static or shared, before and after librecto.a
#   command       the command, stripped, is at most 8 MiB, and runs from where it was installed
set -eu
case=$1 build=$2
work=$build/consumer/$case
here=$PWD/tests/consumer
rm -rf "$work"
mkdir -p "$work"

install() { cmake --install "$build" --prefix "$1" > /dev/null; }

says_version() {  # PROGRAM...: each prints the version that the header names
    version=$(awk '/^#define RECTO_VERSION_(MAJOR|MINOR|PATCH)/ { printf "%s%s", dot, $3; dot = "." }' host/recto.h)
    for program; do
        words=$($program)
        echo "$program: $words"
        case $words in *"$version"*) ;; *) echo "expected version $version"; exit 1 ;; esac
    done
}

build_with_cmake() {  # SOURCE OPTION...
    source=$1
    shift
    cmake -G Ninja -S "$source" -B "$work/build" "$@" > "$work/configure.log" || { cat "$work/configure.log"; exit 1; }
    cmake --build "$work/build" > "$work/build.log" || { cat "$work/build.log"; exit 1; }
    says_version "$work/build/consumer_c" "$work/build/consumer_cpp"
}

case $case in
header)
    warnings='-Wall -Wextra -Wpedantic -Werror'
    # shellcheck disable=SC2086  # the warnings are words
    {
        gcc -std=c11 $warnings -x c -fsyntax-only host/recto.h
        g++ -std=c++17 $warnings -x c++ -fsyntax-only host/recto.h
        clang-14 -std=c11 $warnings -x c -fsyntax-only host/recto.h
        clang-14 -std=c++17 $warnings -x c++ -fsyntax-only host/recto.h
    } ;;
pkg_config)
    install "$work/prefix"
    PKG_CONFIG_PATH=$(find "$work/prefix" -type d -name pkgconfig)
    export PKG_CONFIG_PATH
    pkg-config --exists 'recto >= 0.1' || { echo "pkg-config does not find recto"; exit 1; }
    # shellcheck disable=SC2046  # flags are words
    {
        gcc $(pkg-config --cflags recto) "$here/consumer.c" -o "$work/consumer_c" \
            $(pkg-config --static --libs recto) -l:libjansson.a
        g++ -x c++ $(pkg-config --cflags recto) "$here/consumer.c" -o "$work/consumer_cpp" \
            -x none -l:libjansson.a $(pkg-config --static --libs recto)
    }
    says_version "$work/consumer_c" "$work/consumer_cpp" ;;
find_package)
    install "$work/prefix"
    build_with_cmake "$here" -DCMAKE_PREFIX_PATH="$work/prefix"
    for wrong in 0.2 0.0 1.0; do
        if cmake -G Ninja -S "$here" -B "$work/wrong" -DCMAKE_PREFIX_PATH="$work/prefix" -DWANTED="$wrong" > "$work/log" 2>&1; then
            echo "find_package(recto $wrong) was content with 0.1"
            exit 1
        fi
        grep -q "requested version \"$wrong\"" "$work/log" || { cat "$work/log"; exit 1; }
    done ;;
moved)
    DESTDIR=$work/stage install /opt/recto
    mv "$work/stage/opt/recto" "$work/moved"
    build_with_cmake "$here" -DCMAKE_PREFIX_PATH="$work/moved"
    PKG_CONFIG_PATH=$(find "$work/moved" -type d -name pkgconfig)
    export PKG_CONFIG_PATH
    [ -f "$(pkg-config --variable=includedir recto)/recto.h" ] || { echo "recto.pc does not follow the tree"; exit 1; } ;;
subdirectory)
    build_with_cmake "$here/subdirectory" -DRECTO_SOURCE="$PWD" -DRECTO_CUDA=OFF ;;
cuda)
    install "$work/prefix"
    nvcc=$(scripts/cuda_toolkit --where compiler)
    nvcc=$(readlink -f "$nvcc")
    toolkit=${nvcc%/bin/nvcc}
    "$nvcc" -std=c++17 -I. -Xcompiler=-fPIC,-fno-exceptions,-fno-threadsafe-statics -c tests/cuda/probe.cu -o "$work/probe.o"
    gcc -std=c11 -I"$work/prefix/include" -I. -isystem "$toolkit/include" -c "$here/cuda.c" -o "$work/cuda.o"
    recto=$(find "$work/prefix" -name librecto.a)
    own=$(find -L "$toolkit/lib" -maxdepth 1 -name libcudart_static.a)
    shared=$(find -L "$toolkit/lib" -maxdepth 1 -name 'libcudart.so.*' | head -n 1)
    gcc "$work/cuda.o" "$work/probe.o" "$recto" "$own" -lm -ldl -lrt -lpthread -o "$work/after"
    gcc "$work/cuda.o" "$work/probe.o" "$own" "$recto" -lm -ldl -lrt -lpthread -o "$work/before"
    says_version "$work/after" "$work/before"
    if [ -n "$shared" ]; then
        gcc "$work/cuda.o" "$work/probe.o" "$recto" "$shared" -lm -Wl,-rpath,"$toolkit/lib" -o "$work/shared"
        says_version "$work/shared"
    fi ;;
command)
    install "$work/prefix"
    strip -o "$work/stripped" "$work/prefix/bin/recto"
    bytes=$(stat -c %s "$work/stripped")
    echo "recto, stripped: $bytes bytes"
    [ "$bytes" -le 8388608 ] || { echo "expected at most 8 MiB"; exit 1; }
    says_version "$work/prefix/bin/recto --version" ;;
esac
rm -rf "$work"
