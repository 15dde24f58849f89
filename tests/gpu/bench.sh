#!/bin/sh
# The benchmarks for a GPU on the emulator: every row they promise is there, and the table takes none of it for a result.
#   bench.sh BENCH_KERNELS BENCH_MODEL MAKE_RANDOM_MODEL
set -eu
kernels=$1 model=$2 make=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RECTO_CACHE="$work/cache"
expect() { grep -q "$1" "$work/$2" || { echo "$2 lacks: $1"; cat "$work/$2"; exit 1; }; }

"$kernels" --quick > "$work/bench.jsonl"
expect '"device": "emulated device", "architecture": 90' bench.jsonl
for row in 'linear base qkv' 'epilogue apart of linear base up, gelu' 'attention' 'norm' 'rotary' 'pool' 'tile wgmma_128x192'; do
    expect "\"kernel\": \"$row" bench.jsonl
done
expect 'sequences of 16 to' bench.jsonl

"$make" minilm-l6 "$work/model"
"$model" --quick --name small --model "$work/model" > "$work/model.jsonl"
expect '"kernel": "small, bulk", "shape": "3 texts of 9 tokens"' model.jsonl
expect '"kernel": "small, one"' model.jsonl
for measure in 'host asks, replay' 'host asks, kernel by kernel' 'device from first to last, replay' 'graphs kept' \
    'device memory of a graph, measured' 'device memory booked, peak' 'device memory taken of the driver'; do
    expect "\"measure\": \"small, $measure\"" model.jsonl
done
# Both kinds of text were of one plan: its first run eager, its second captured, all others replayed.
expect '"measure": "small, runs kernel by kernel, unwanted", "shape": "at the end", "value": 0.000' model.jsonl
python3 - "$work/bench.jsonl" "$work/model.jsonl" <<'END'
import json, math, sys
for path in sys.argv[1:]:
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        assert row["device"] == "emulated device", row
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float)), row
END
printf 'bench\tpassed\t1\t\n' > "$work/bench.state"
if python3 profiling/gpu/table.py "$work" "$work" > "$work/table" 2>&1; then
    echo 'the table takes the emulator for a GPU'
    exit 1
fi
expect 'emulated device' table
! ls "$work"/*-gpu.json 2> /dev/null || { echo 'figures of the emulator were written as results'; exit 1; }
