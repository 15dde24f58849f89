#!/bin/sh
# run.sh BUILD TARGET SECONDS: fuzzes BUILD/tests/TARGET from the seeds in tests/fuzz/corpus; run in the project's root.
# New inputs that reach new code are kept in BUILD/corpus, so that the next run starts where this one ended. On a crash, a leak
# or a hang the last lines name the input and the command that repeats it.
set -eu
build=$1 target=$2 seconds=$3
seeds=tests/fuzz/corpus/${target#fuzz_}
grown=$build/corpus/$target
mkdir -p "$grown"
if "$build/tests/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$build/corpus/$target." "$grown" "$seeds" 2> "$build/corpus/$target.log"; then
    awk -v target="$target" '/number_of_executed_units/ { runs = $2 } END { print target ": " runs " inputs, no failure" }' \
        "$build/corpus/$target.log"
    exit 0
fi
cat "$build/corpus/$target.log"
input=$(sed -n 's/.*Test unit written to //p' "$build/corpus/$target.log" | tail -n 1)
echo "$target FAILED${input:+; again: $build/tests/$target $input}"
exit 1
