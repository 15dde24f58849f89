#!/bin/sh
# scripts/gpu where there is no GPU, and its table from results that were never measured.
set -eu
cd -- "$(dirname -- "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

if [ ! -e /dev/nvidiactl ]; then
    if scripts/gpu > "$work/out" 2>&1; then echo 'scripts/gpu is content without a GPU'; exit 1; fi
    [ "$(cat "$work/out")" = 'scripts/gpu: this machine has no GPU, so nothing was run' ] || { cat "$work/out"; exit 1; }
fi
if scripts/gpu nonsense > "$work/out" 2>&1; then echo 'an unknown part was taken'; exit 1; fi

printf 'passed\t3\t\n' > "$work/build.state"
printf 'passed\t8\t\n' > "$work/cases.state"
printf 'not run\t0\tcompute-sanitizer is not installed\n' > "$work/sanitizer.state"
cat > "$work/bench.jsonl" <<'END'
{"device": "none", "architecture": 90, "copy_gb_s": 4300.0, "matrix_tflop_s": 780.0}
{"device": "none", "kernel": "attention", "shape": "16 sequences of 1024, 12 heads of 64, 12 of keys", "us": 10.0, "gb_s": 100.0, "tflop_s": 500.0, "limit": "matrix units", "limit_us": 6.0, "of_limit": 0.6, "peers": {}}
{"device": "none", "kernel": "attention", "shape": "512 sequences of 32, 12 heads of 64, 12 of keys", "us": 10.0, "gb_s": 100.0, "tflop_s": 3.2, "limit": "memory", "limit_us": 4.0, "of_limit": 0.4, "peers": {}}
{"device": "none", "kernel": "linear base qkv", "shape": "b", "us": 8.0, "gb_s": 1.0, "tflop_s": 9.0, "limit": "matrix units", "limit_us": 6.4, "of_limit": 0.8, "peers": {"cuBLASLt, product alone": 7.0, "cuBLASLt, epilogue apart": 10.0}}
{"device": "none", "kernel": "linear base out", "shape": "c", "us": 8.0, "gb_s": 1.0, "tflop_s": 9.0, "limit": "matrix units", "limit_us": 6.4, "of_limit": 0.8, "peers": {"cuBLASLt, product alone": 7.8, "cuBLASLt, epilogue apart": 9.0}}
END
cat > "$work/model.jsonl" <<'END'
{"device": "none", "kernel": "BERT-base, bulk", "shape": "2048 texts of 512 tokens", "us": 500000.0, "gb_s": 1.0, "tflop_s": 300.0, "limit": "matrix units", "limit_us": 250000.0, "of_limit": 0.5, "tokens_s": 2000000, "peers": {}}
{"device": "none", "measure": "BERT-base, host asks, replay", "shape": "a run of 128 tokens", "value": 4.0, "unit": "us"}
{"device": "none", "measure": "BERT-base, host asks, replay", "shape": "a run of 16384 tokens", "value": 6.0, "unit": "us"}
{"device": "none", "measure": "BERT-base, graphs kept", "shape": "at the end", "value": 6.0, "unit": ""}
END
cat > "$work/peers.jsonl" <<'END'
{"kernel": "attention", "shape": "512 sequences of 32, 12 heads of 64, 12 of keys", "peer": "slow", "us": 30.0}
{"kernel": "attention", "shape": "512 sequences of 32, 12 heads of 64, 12 of keys", "peer": "fast", "us": 15.0}
{"kernel": "attention", "shape": "512 sequences of 32, 12 heads of 64, 12 of keys", "peer": "none", "refused": "no kernel"}
{"kernel": "BERT-base, bulk", "shape": "2048 texts of 512 tokens", "peer": "PyTorch", "us": 1000000.0}
END
echo '{"question": "first launch", "program": "machine code", "open_ms": 3.0, "first_ms": 1.0, "second_ms": 0.1}' > "$work/questions.jsonl"
sed -n 's/"attention"/"variant of attention: no turns"/p' "$work/bench.jsonl" > "$work/asked.jsonl"
python3 profiling/gpu/table.py "$work" "$work" > "$work/out"
expect() { grep -qE "$1" "$work/out" || { echo "the table lacks: $1"; cat "$work/out"; exit 1; }; }
expect '^cases +passed +8'
expect '^sanitizer +not run +0 +compute-sanitizer is not installed'
expect '^attention +512 sequences of 32.* 10.0 .* 40%  1.50 fast, 3.00 slow'
expect '^machine code +3.0'
expect '^variant of attention: no turns +16 sequences of 1024'
# Goals: some met, of some the first step, others not, and those that nobody measured say why.
expect '^every kernel against double precision +1 .* met$'
expect '^the cases under the sanitizer .* not run \(compute-sanitizer is not installed\)'
expect '^attention, heads of 64, from 1024 tokens +500 TFLOP/s +>= 480, 520 +833.3 +60% +1 of 2 met'
expect '^attention, heads of 64, packed .* 1.5 times +>= 2 .* not met \(0 of 1 shapes reach it'
expect '^attention, heads of 32, packed .* not run'
expect '^linears beside cuBLASLt, epilogue apart +1.125 times .* met \(2 of 2'
expect '^linears beside cuBLASLt, product alone +0.875 times .* not met \(1 of 2 shapes reach it; worst: linear base qkv, b'
expect '^BERT-base in bf16, 512 tokens +2 million tokens/s +>= 1.8, 2.6 +4 +50% +2.00  1 of 2 met'
expect '^what the host takes to ask for a replay +6 us +<= 5 .* not met'
expect '^graphs kept +6 graphs +<= 32 .* met'
python3 -m json.tool "$work"/*-gpu.json > /dev/null
grep -q '80% of matrix units' "$work"/*-gpu.svg
# The bits of kernels: those of products may differ, those of the others may not.
printf 'seed 1\ndigest pool_mean 1\ndigest linear_bf16_mma_64x64 2\n' > "$work/emulator.txt"
printf 'digest pool_mean 1\ndigest linear_bf16_mma_64x64 3\n' > "$work/gpu.txt"
python3 profiling/gpu/golden.py --digests "$work/gpu.txt" "$work/emulator.txt" > "$work/out"
expect '1 groups of cases with the emulator.s bits; others: linear_bf16_mma_64x64'
sed -i 's/pool_mean 1/pool_mean 4/' "$work/gpu.txt"
if python3 profiling/gpu/golden.py --digests "$work/gpu.txt" "$work/emulator.txt" > "$work/out"; then
    echo 'other bits of a kernel that only adds were let through'
    exit 1
fi
expect 'expected the same bits of: pool_mean'
# What is changed in attention to ask what bounds it is still there to be changed.
python3 profiling/gpu/attention_variants.py kernels/attention/attention_sm90.cu "$work/variants"
[ "$(find "$work/variants" -name '*.cu' | wc -l)" -eq "$(python3 profiling/gpu/attention_variants.py --list | wc -l)" ]
# Whoever mistakes the emulator for a GPU is told.
sed -i 's/"none"/"emulated device"/' "$work/bench.jsonl"
rm "$work"/*-gpu.json
if python3 profiling/gpu/table.py "$work" "$work" > "$work/out" 2>&1 || ls "$work"/*-gpu.json 2> /dev/null; then
    echo 'the table takes the emulator for a GPU'
    exit 1
fi
echo 'scripts/gpu: what it says without a GPU, and its table'
