#!/bin/sh
# keep_log.sh COMPILER ARGUMENT... -o OBJECT ...: runs the compiler. What CUDA's assembler says of registers, and that it has
# serialised an instruction, goes to OBJECT.ptxas, where tests/pins reads it; everything else is printed as it is.
set -eu
object=
before=
for argument; do
    [ "$before" != -o ] || object=$argument
    before=$argument
done
status=0
"$@" > "$object.ptxas" 2>&1 || status=$?
grep -v -e '^ptxas info' -e '^ *[0-9]* bytes stack frame' -e '^$' "$object.ptxas" >&2 || true
exit "$status"
