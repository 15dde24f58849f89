#!/usr/bin/env python3
"""PyTorch's attention on the shapes of bench_kernels: its fastest kernel for batches of one length, and its kernel for packed
batches. One line of JSON a row; exits 1 where there is no torch that sees a GPU."""
import json
import sys

TOKENS, ROUNDS = 16384, 20
LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 4096)
HEADS = ((12, 12, 32, False), (12, 12, 64, False), (16, 8, 128, True), (16, 16, 128, False))


def seconds(torch, run, flush):
    """The median of launches that find a cold cache."""
    times = []
    for number in range(ROUNDS + 1):
        flush.fill_(number)
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        before.record()
        run()
        after.record()
        torch.cuda.synchronize()
        times.append(before.elapsed_time(after) * 1e-3)
    return sorted(times[1:])[ROUNDS // 2]


def attempts(torch, length, heads, kv_heads, size, causal):
    """(name, function to time) of every kernel that PyTorch has for the shape."""
    functional, backends = torch.nn.functional, torch.nn.attention.SDPBackend
    batch = TOKENS // length
    q, k, v = (torch.randn(batch, h, length, size, device="cuda", dtype=torch.bfloat16) for h in (heads, kv_heads, kv_heads))

    def padded(backend):
        with torch.nn.attention.sdpa_kernel(backend):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=heads != kv_heads)

    for name, backend in (("cuDNN", backends.CUDNN_ATTENTION), ("flash", backends.FLASH_ATTENTION)):
        yield f"{name} by PyTorch", lambda backend=backend: padded(backend)
    packed = [x.transpose(1, 2).reshape(TOKENS, -1, size).contiguous() for x in (q, k, v)]
    starts = torch.arange(0, TOKENS + 1, length, device="cuda", dtype=torch.int32)
    yield "packed by PyTorch", lambda: torch.ops.aten._flash_attention_forward(
        *packed, starts, starts, length, length, 0.0, causal, False)


def main():
    try:
        import torch
    except ImportError:
        sys.exit("python3 has no torch")
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    flush = torch.empty(128 << 20, device="cuda", dtype=torch.uint8)
    for length in LENGTHS:
        for heads, kv_heads, size, causal in HEADS:
            shape = (f"{TOKENS // length} sequences of {length}, {heads} heads of {size}, {kv_heads} of keys"
                     + (", causal" if causal else ""))
            for name, run in attempts(torch, length, heads, kv_heads, size, causal):
                try:
                    row = {"us": round(seconds(torch, run, flush) * 1e6, 2)}
                except RuntimeError as error:
                    row = {"refused": str(error).splitlines()[0]}
                print(json.dumps({"kernel": "attention", "shape": shape, "peer": name, **row}), flush=True)


if __name__ == "__main__":
    main()
