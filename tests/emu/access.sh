#!/bin/sh
# access.sh PROGRAM ARGUMENT...: runs a program of check mode and shows its accesses to memory by source line, worst first.
set -eu
base=0
if readelf -h "$1" | grep -q 'Type:.*EXEC'; then base=0x400000; fi
EMU_CHECK=1 EMU_ACCESS=1 "$@" 2>&1 >/dev/null | sed -n 's/^\[emu-access\] //p' | while read -r place rest; do
    case $place in
    +0x*) place=$(addr2line -e "$1" "$(printf '0x%x' $((${place#+} + base)))" | sed 's/ (disc.*//') ;;
    esac
    echo "${place##*/} $rest"
done
