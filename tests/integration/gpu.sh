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

printf 'build\tpassed\t3\t\ncases\tFAILED\t9\tsee a log\ncases\tpassed\t8\t\nsanitizer\tnot run\t0\tcompute-sanitizer is not installed\n' \
    > "$work/states.tsv"
cat > "$work/bench.jsonl" <<'END'
{"device": "none", "kernel": "attention", "shape": "a", "us": 10.0, "gb_s": 100.0, "tflop_s": 3.2, "limit": "memory", "of_limit": 0.4}
{"device": "none", "kernel": "linear", "shape": "b", "us": 8.0, "gb_s": 1.0, "tflop_s": 9.0, "limit": "matrix units", "of_limit": 0.8, "peer": "cuBLASLt", "peer_us": 10.0, "ratio": 1.25}
END
cat > "$work/peers.jsonl" <<'END'
{"kernel": "attention", "shape": "a", "peer": "slow", "us": 30.0}
{"kernel": "attention", "shape": "a", "peer": "fast", "us": 15.0}
{"kernel": "attention", "shape": "a", "peer": "none", "refused": "no kernel"}
END
echo '{"question": "first launch", "program": "machine code", "open_ms": 3.0, "first_ms": 1.0, "second_ms": 0.1}' > "$work/questions.jsonl"
python3 profiling/gpu/table.py "$work" "$work" > "$work/out"
expect() { grep -qE "$1" "$work/out" || { echo "the table lacks: $1"; cat "$work/out"; exit 1; }; }
expect '^cases +passed +8'
expect '^sanitizer +not run +0 +compute-sanitizer is not installed'
expect '^attention +a +10.0 .* 40% +1.50 fast'
expect '^linear +b +8.0 .* 80% +1.25 cuBLASLt'
expect '^machine code +3.0'
python3 -m json.tool "$work"/*-gpu.json > /dev/null
grep -q '80% of matrix units' "$work"/*-gpu.svg
echo 'scripts/gpu: what it says without a GPU, and its table'
