#!/usr/bin/env python3
"""peers.py [--seconds N] [--models FOLDER] [--dry]: what PyTorch and sentence-transformers take for the work of bench_kernels and
bench_model, in bf16 on the GPU. One line of JSON a row; a peer that cannot do it says why.

Attention: PyTorch's kernels for batches of one length (cuDNN, flash), and for packed batches (its own, varlen_attn, flash-attn).
Models: the same architecture as a module (models.py), compiled with reduce-overhead and as it is, and sentence-transformers with
the folders that bench_model ran (FOLDER/NAME). No case is begun after N seconds. --dry: small shapes on the CPU, to see that it
works; those figures mean nothing, and the rows say so."""
import argparse
import inspect
import json
import os
import sys
import time

import models

TOKENS, ROUNDS = 16384, 20
LENGTHS = (16, 32, 64, 128, 0, 256, 512, 1024, 4096)  # 0: of 16 to 128, as bench_kernels has them
HEADS = ((12, 12, 32, False), (12, 12, 64, False), (16, 8, 128, True), (16, 16, 128, False))


def mixed_lengths(tokens):
    """Those of bench_kernels."""
    lengths = []
    while True:
        length = 16 + len(lengths) * 37 % 113
        if sum(lengths) + length > tokens:
            return lengths
        lengths.append(length)


class Timer:
    """The median of launches on a GPU that find a cold cache, in seconds; on the CPU one call, for its errors alone."""

    def __init__(self, torch, device):
        self.torch, self.device = torch, device
        self.flush = torch.empty(128 << 20, device=device, dtype=torch.uint8) if device == "cuda" else None

    def kernel(self, run):
        if self.device == "cpu":
            return self.call(run, 1)
        times = []
        for number in range(ROUNDS + 1):
            self.flush.fill_(number)
            self.torch.cuda._sleep(400_000)  # a fifth of a millisecond: the host asks for all of it meanwhile
            before, after = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            run()
            after.record()
            self.torch.cuda.synchronize()
            times.append(before.elapsed_time(after) * 1e-3)
        return sorted(times[1:])[ROUNDS // 2]

    def call(self, run, rounds):
        """A whole call as its caller waits for it; three that are not counted."""
        times = []
        for _ in range(rounds + (3 if self.device == "cuda" else 0)):
            start = time.perf_counter()
            run()
            if self.device == "cuda":
                self.torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return sorted(times[-rounds:])[rounds // 2]


# ---- attention ----

def padded_kernels(torch, device, length, tokens, heads, kv_heads, size, causal):
    """(name, function) for a batch of one length."""
    functional, attention = torch.nn.functional, torch.nn.attention
    q, k, v = (torch.randn(tokens // length, h, length, size, device=device, dtype=torch.bfloat16)
               for h in (heads, kv_heads, kv_heads))

    def run(backend):
        with attention.sdpa_kernel(backend):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=heads != kv_heads)

    backends = {"cuDNN by PyTorch": attention.SDPBackend.CUDNN_ATTENTION, "flash by PyTorch": attention.SDPBackend.FLASH_ATTENTION}
    if device == "cpu":
        backends = {"plain by PyTorch": attention.SDPBackend.MATH}
    for name, backend in backends.items():
        yield name, lambda backend=backend: run(backend)


def packed_kernels(torch, device, lengths, heads, kv_heads, size, causal):
    """(name, function) for sequences one after another."""
    starts = torch.tensor([sum(lengths[:i]) for i in range(len(lengths) + 1)], device=device, dtype=torch.int32)
    longest = max(lengths)
    q, k, v = (torch.randn(sum(lengths), h, size, device=device, dtype=torch.bfloat16) for h in (heads, kv_heads, kv_heads))
    yield "packed by PyTorch", lambda: torch.ops.aten._flash_attention_forward(
        q, k, v, starts, starts, longest, longest, 0.0, causal, False)
    # What has no heads to share gets them repeated before the clock starts.
    many_k, many_v = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (k, v))
    try:
        from torch.nn.attention.varlen import varlen_attn
        named = inspect.signature(varlen_attn).parameters  # the name has changed from one release to another
        window = {} if not causal else {"window_size": (-1, 0)} if "window_size" in named else {"is_causal": True}
        yield "varlen_attn by PyTorch", lambda: varlen_attn(q, many_k, many_v, starts, starts, longest, longest, **window)
    except ImportError as error:
        yield "varlen_attn by PyTorch", error
    try:
        from flash_attn import flash_attn_varlen_func
        yield "flash-attn", lambda: flash_attn_varlen_func(q, k, v, starts, starts, longest, longest, causal=causal)
    except ImportError as error:
        yield "flash-attn", error


def attention_cases(torch, device, dry):
    tokens = 160 if dry else TOKENS
    for length in (16, 0) if dry else LENGTHS:
        for heads, kv_heads, size, causal in HEADS[1:3] if dry else HEADS:
            lengths = [length] * (tokens // length) if length else mixed_lengths(tokens)
            shape = (f"{len(lengths)} sequences of {length or f'16 to {max(lengths)}'}, {heads} heads of {size}, {kv_heads} of keys"
                     + (", causal" if causal else ""))
            # All tensors of a shape are dropped before those of the next are made.
            kernels = list(padded_kernels(torch, device, length, tokens, heads, kv_heads, size, causal)) if length else []
            for name, run in kernels + list(packed_kernels(torch, device, lengths, heads, kv_heads, size, causal)):
                yield {"kernel": "attention", "shape": shape, "peer": name}, run


def write(row, run, measure):
    """Measures and prints; what a peer cannot do is its answer, not an error of this program."""
    try:
        if isinstance(run, Exception):
            raise run
        row["us"] = round(measure(run) * 1e6, 2)
    except Exception as error:  # pylint: disable=broad-except
        row["refused"] = (str(error).splitlines() or [type(error).__name__])[0][:200]
    print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--models")
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("python3 has no torch")
    device = "cpu" if options.dry else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    timer, begun = Timer(torch, device), time.monotonic()
    note = {"dry": True} if options.dry else {}
    with torch.inference_mode():
        for row, run in attention_cases(torch, device, options.dry):
            write(row | note, run, timer.kernel)
        for row, make, rounds in models.cases(torch, device, options.models, options.dry):
            if time.monotonic() - begun > options.seconds:
                run = TimeoutError(f"not begun after {options.seconds:.0f} seconds")
            else:
                run = models.made(make)
            write(row | note, run, lambda run, rounds=rounds: timer.call(run, rounds))


if __name__ == "__main__":
    main()
