#!/bin/sh
# The benchmarks for a GPU on the emulator: every row they promise is there, and the table takes none of it for a result.
#   bench.sh BENCH_KERNELS BENCH_MODEL MAKE_RANDOM_MODEL FAKE_CUBLASLT
set -eu
kernels=$1 model=$2 make=$3 cublaslt=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RECTO_CACHE="$work/cache"
expect() { grep -q "$1" "$work/$2" || { echo "$2 lacks: $1"; cat "$work/$2"; exit 1; }; }

EMU_RUNTIME_ORDER=once "$kernels" --quick --cublaslt "$cublaslt" > "$work/bench.jsonl"
expect '"device": "emulated device", "architecture": 90' bench.jsonl
for row in 'linear base qkv' 'linear base out, product alone' 'linear base out, norm' 'linear qwen down, norm' \
    'linear qwen up, gate' 'epilogue apart of linear base up, gelu' 'epilogue with norm apart of linear large out' \
    'attention' 'norm' 'rotary' 'pool' 'tile wgmma_128x192'; do
    expect "\"kernel\": \"$row" bench.jsonl
done
for size in 32 64 72 80 96 128 256; do
    expect "sequences of 16 to 90, [0-9]* heads of $size," bench.jsonl
done
expect '"attention f32", "shape": "3 sequences of 16 to 90, 3 heads of 64, 3 of keys"' bench.jsonl
expect '576 x 192, fp8.*cuBLASLt of e4m3, epilogue apart' bench.jsonl
expect '"linear base out, norm", "shape": "33 x 192 x 192, fp8.*cuBLASLt of e4m3, epilogue apart' bench.jsonl
# All peers did what we did. The slow algorithm, which comes first, did not; it is taken only where the machine stalls for so long.
python3 - "$work/bench.jsonl" <<'END'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
found = [value for row in rows if "kernel" in row and not row["kernel"].startswith("tile") for value in row["differences"].values()]
wrong = [value for value in found if value is None or value > 0.005]
assert len(found) > 50, f"only {len(found)} peers"
assert len(wrong) <= len(found) // 2, f"{len(wrong)} of {len(found)} peers are slow, or do something else: {wrong}"
END

"$make" minilm-l6 "$work/model"
"$model" --quick --name small --model "$work/model" > "$work/model.jsonl"
expect '"kernel": "small, bulk", "shape": "3 texts of 9 tokens"' model.jsonl
expect '"kernel": "small, one"' model.jsonl
for measure in 'host asks, replay' 'host asks, replay of a graph of one node' 'host asks, kernel by kernel' \
    'device from first to last, replay' 'graphs kept' 'device memory of a graph, measured' \
    'device memory booked, peak' 'device memory taken of the driver'; do
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
