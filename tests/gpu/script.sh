#!/bin/sh
# scripts/gpu with programs that only pretend: what is missing, is killed or takes too long is named and never passes for passed.
#   script.sh
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree bin=$work/bin
mkdir -p "$tree/scripts" "$tree/profiling/gpu" "$tree/build/gpu/golden" "$bin"
cp scripts/gpu "$tree/scripts/"
cp profiling/gpu/*.py "$tree/profiling/gpu/"
for folder in kernels runtime loaders models host tests/cuda tests/emu tests/kernels_cuda tests/tools cmake; do
    mkdir -p "$tree/$folder"
done
echo 'int kernel;' > "$tree/kernels/kernel.c"
cd "$tree"
found=build/gpu/found

fail() { echo "script.sh: $*"; cat "$work/said"; exit 1; }
gpu() {  # STATUS ARGUMENT...: scripts/gpu ends so
    wanted=$1
    shift
    status=0
    PATH="$bin:/usr/bin:/bin" sh scripts/gpu "$@" > "$work/said" 2>&1 < /dev/null || status=$?
    [ "$status" = "$wanted" ] || fail "scripts/gpu $* ends with $status, expected $wanted"
}
state() { [ "$(cut -f1 "$found/$1.state")" = "$2" ] || fail "$1 is $(cat "$found/$1.state"), expected $2"; }
says() { grep -q -e "$1" "$work/said" || fail "not said: $1"; }
program() {  # NAME LINE...
    name=$1
    shift
    { echo '#!/bin/sh'; printf '%s\n' "$@"; } > "$name"
    chmod +x "$name"
}

[ -e /dev/nvidiactl ] || PATH=/usr/bin:/bin nvidia-smi -L > /dev/null 2>&1 || {
    gpu 1 cases
    says 'this machine has no GPU, so nothing was run'
    [ ! -e "$found/cases.state" ] || fail 'something was run'
}
gpu 2 --seconds soon
gpu 2 everything

# A machine where all is well, but for the models: those are built where their libraries are.
program "$bin/nvidia-smi" 'echo 1980, 650.1, 99'
# shellcheck disable=SC2016  # for the program
program "$bin/compute-sanitizer" 'shift 4; exec "$@"'
for name in gpu_probe_values conformance host_facts kernels_cuda_tests; do
    program "build/gpu/$name" 'echo digest pool_mean 12'
done
for name in first_launch first_launch_many; do
    program "build/gpu/$name" 'echo "{\"program\": \"cubin\", \"open_ms\": 1, \"first_ms\": 1, \"second_ms\": 1}"'
done
echo 'digest pool_mean 12' > build/gpu/golden/kernels.txt
printf '{"device": "H200", %s}\n' '"architecture": 90, "matrix_from": "a product of cuBLASLt"' \
    '"kernel": "linear base out", "shape": "9 x 768 x 768", "us": 9, "gb_s": 9, "tflop_s": 9, "limit": "memory", "limit_us": 8,
     "of_limit": 0.9, "peers": {"cuBLASLt, epilogue apart": 10}, "differences": {"cuBLASLt, epilogue apart": 0.001}' \
    '"kernel": "attention", "shape": "4 sequences of 4096, 16 heads of 128, 16 of keys", "us": 9, "gb_s": 9, "tflop_s": 700,
     "limit": "memory", "limit_us": 8, "of_limit": 0.9, "peers": {}, "differences": {}, "sample": [1]' |
    awk '{ printf "%s%s", $0, /}$/ ? "\n" : "" }' > "$work/rows"
program build/gpu/bench_kernels "cat '$work/rows'"
program build/gpu/bench_variants 'exit 77'
cat > profiling/gpu/peers.py <<'END'
SHAPE = "4 sequences of 4096, 16 heads of 128, 16 of keys"
print('{"kernel": "attention", "shape": "%s", "peer": "flash", "us": 12, "difference": 0.001}' % SHAPE)
print('{"kernel": "attention", "shape": "4 sequences of 16", "peer": "cuDNN", "cut": "after 10 s"}')
END
find kernels runtime loaders models host tests/cuda tests/emu tests/kernels_cuda tests/tools profiling/gpu cmake \
    -type f ! -name '*.py*' -exec sha256sum {} + | LC_ALL=C sort | sha256sum > build/gpu/sources

gpu 3 --into "$work/out"
for part in build questions conformance cases memcheck racecheck synccheck initcheck kernels; do
    state $part passed
done
state golden incomplete
state models 'not run'
state peers incomplete
says 'attention, heads of 128, from 1024 tokens .* 700 .* met'
says 'linears of large, qwen have no figure and peer'
says 'BERT-base, one text of 128 tokens .* NOT RUN (build/gpu/bench_model is not there'
says 'cut .*cuDNN: after 10 s'
says 'clock while kernels ran: 1980 to 1980 MHz'
says 'goals: 7 met, .* [1-9][0-9]* NOT RUN'
tar -tzf "$work/out/gpu-found.tar.gz" | grep -q peers.jsonl || fail 'the results are not packed'

# Results that are not a peer's are no results.
sed -i 's/"cuBLASLt, epilogue apart": 0.001/"cuBLASLt, epilogue apart": null/' "$found/bench.jsonl"
gpu 1 table
says 'NOT THE RESULT OF cuBLASLt, epilogue apart'

# Killed in the middle: the part says so until it is run again by name.
rm -rf "$work/out"
program build/gpu/kernels_cuda_tests 'echo $$ > waits; exec sleep 60'
PATH="$bin:/usr/bin:/bin" setsid sh scripts/gpu --into "$work/out" conformance cases > "$work/said" 2>&1 < /dev/null &
call=$!
until [ -s waits ]; do sleep 0.05; done
kill -KILL "$call" "$(cat waits)"
wait "$call" 2> /dev/null || true
state cases 'cut short'
[ -e "$work/out/gpu-found.tar.gz" ] || fail 'what was done before the kill is lost'
printf '{"device": "H200", "kern' >> "$found/bench.jsonl"
gpu 1 table
says '^cases  *cut short'
says 'every kernel against double precision .* NOT MET'
program build/gpu/kernels_cuda_tests 'exit 0'
gpu 0 cases
state cases passed

# What the host side takes for granted is a part of conformance: not asked, or wrong.
mv build/gpu/host_facts "$work/"
gpu 3 conformance
state conformance incomplete
program build/gpu/host_facts 'exit 1'
gpu 1 conformance
says 'conformance: FAILED: what the host side takes for granted'
mv "$work/host_facts" build/gpu/

# Over its time, and no time for what follows.
program build/gpu/conformance 'sleep 60'
gpu 1 --seconds 6 conformance cases
state conformance FAILED
says 'conformance: FAILED: it ends with 124'
state cases 'not run'

# Without the sanitizer; with one that finds something, with one that cannot.
program "$bin/compute-sanitizer" 'exit 9'
gpu 1 racecheck
says 'racecheck: FAILED: not clean'
program "$bin/compute-sanitizer" 'echo Device not supported; exit 1'
gpu 3 memcheck
says 'memcheck: not run: compute-sanitizer does not support this machine'
rm "$bin/compute-sanitizer"
PATH=/usr/bin:/bin command -v compute-sanitizer > /dev/null || {
    gpu 3 synccheck
    says 'synccheck: not run: .*not installed'
}

# Without PyTorch, without cuBLASLt.
echo 'raise SystemExit("python3 has no torch")' > profiling/gpu/peers.py
gpu 3 peers
says 'peers: not run: python3 has no torch'
sed -i 's/a product of cuBLASLt/clock and count/' "$work/rows"
gpu 3 kernels
says 'kernels: incomplete: without cuBLASLt'

# What was run with other sources is not what is there now, and says nothing of it.
echo 'int other;' > kernels/kernel.c
gpu 3 table
says '^kernels  *NOT RUN .*it was run with other sources'
says 'attention, heads of 128, from 1024 tokens .* NOT RUN'
says 'goals: 0 met'
