#!/usr/bin/env python3
"""peers.py [--only NAME] [--found FOLDER] [--models FOLDER] [--seconds N] [--each N] [--dry]: what PyTorch and
sentence-transformers take for the work of bench_kernels and bench_model, in bf16 on the GPU. One line of JSON a row: `us` and,
where bench.jsonl or model.jsonl in the folder of --found tell of our result, the `difference` of theirs from it; or `refused` with
what the peer said, or `cut` where its time was over.

attention: PyTorch's kernels for batches of one length (cuDNN, flash), and for packed batches (its own, varlen_attn, nested tensors
by either, flash-attn). A model's name: a folder of --models, as models.py runs it. Without --only all of them. A peer gets --each
seconds, and none is begun after --seconds. --dry: small shapes on the CPU, to see that it works; those figures mean nothing, and
the rows say so."""
import argparse
import inspect
import json
import math
import os
import signal
import sys
import time

import models

TOKENS, DRY_TOKENS, DRY_PART, ROUNDS, SAMPLES, RANDOM_VALUES = 16384, 160, 4, 20, 64, 1048573
LENGTHS = (0, 512, 4096, 16, 32, 64, 128, 256, 1024)  # 0: of 16 to 128, as bench_attention has them
SELDOM = (0, 512, 4096)  # lengths of the heads that are not everywhere
HEADS = ((12, 12, 64, False, True), (16, 16, 128, False, True), (12, 12, 32, False, True), (16, 8, 128, True, True),
         (16, 16, 72, False, False), (16, 16, 80, False, False), (16, 16, 96, False, False), (8, 4, 256, True, False),
         (8, 8, 256, False, False))


def mixed_lengths(tokens):
    """Those of bench_attention."""
    lengths = []
    while True:
        length = 16 + len(lengths) * 37 % 113
        if sum(lengths) + length > tokens:
            return lengths
        lengths.append(length)


def random_values(torch, device, count, spread):
    """bench_random's in bf16: a linear congruence, so many steps of it at once as are done already."""
    state = torch.tensor([(count * 1664525 + 1013904223) & 0xffffffff])
    factor, addend = 1664525, 1013904223
    while len(state) < min(count, RANDOM_VALUES):
        state = torch.cat((state, (state * factor + addend) & 0xffffffff))
        factor, addend = factor * factor & 0xffffffff, (factor + 1) * addend & 0xffffffff
    values = ((state[:min(count, RANDOM_VALUES)] >> 16).float() / 32768 - 1) * spread
    cut = (values.view(torch.int32) & -65536).view(torch.float32).bfloat16().to(device)
    return cut.repeat(-(-count // len(cut)))[:count]


class Cut(BaseException):
    """The time of a peer is over; nobody who catches errors catches it."""


class Timer:
    """The median of launches on a GPU that find a cold cache, in seconds; on the CPU one call, for its errors alone. Both give the
    last result as well."""

    def __init__(self, torch, device):
        self.torch, self.device = torch, device
        self.flush = torch.empty(128 << 20, device=device, dtype=torch.uint8) if device == "cuda" else None

    def kernel(self, run):
        if self.device == "cpu":
            return self.call(run, 1)
        times = []
        for number in range(ROUNDS + 1):
            self.flush.fill_(number)
            self.torch.cuda._sleep(4_000_000)  # two milliseconds: the host asks for all of it meanwhile, nested tensors too
            before, after = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            result = run()
            after.record()
            self.torch.cuda.synchronize()
            times.append(before.elapsed_time(after) * 1e-3)
        return sorted(times[1:])[ROUNDS // 2], result

    def call(self, run, rounds):
        """A whole call as its caller waits for it; three that are not counted."""
        times = []
        for _ in range(rounds + (3 if self.device == "cuda" else 0)):
            start = time.perf_counter()
            result = run()
            if self.device == "cuda":
                self.torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return sorted(times[-rounds:])[rounds // 2], result

    def host(self, ask):
        """What the host takes to ask for something, the device idle before."""
        times = []
        for _ in range(200):
            start = time.perf_counter()
            ask()
            times.append(time.perf_counter() - start)
            self.torch.cuda.synchronize()
        return sorted(times)[100]


# ---- attention: a peer is (name, function or an exception, what makes its result rows [tokens, heads, size]) ----

def first_that_works(*runs):
    """Of several ways to ask for the same, the first that is not refused, found out at the first call."""
    found = []

    def run():
        for one in found or runs:
            try:
                result = one()
                found[:] = [one]
                return result
            except RuntimeError as error:
                refused = error
        raise refused
    return run


def equal_kernels(torch, device, q, k, v, length, causal):
    """For texts of one length; q, k, v [tokens, heads, size]. Heads of keys that are shared are repeated before the clock starts
    where a kernel cannot share them."""
    functional, attention = torch.nn.functional, torch.nn.attention
    shared = q.shape[1] // k.shape[1]
    q, k, v = (x.unflatten(0, (-1, length)).transpose(1, 2) for x in (q, k, v))
    many = tuple(x.repeat_interleave(shared, dim=1) for x in (k, v))

    def run(backend, k, v):
        with attention.sdpa_kernel(backend):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=k.shape[1] != q.shape[1])

    backends = {"cuDNN by PyTorch": attention.SDPBackend.CUDNN_ATTENTION, "flash by PyTorch": attention.SDPBackend.FLASH_ATTENTION}
    if device == "cpu":
        backends = {"plain by PyTorch": attention.SDPBackend.MATH}
    for name, backend in backends.items():
        yield (name, first_that_works(lambda b=backend: run(b, k, v), lambda b=backend: run(b, *many)),
               lambda y: y.transpose(1, 2).flatten(0, 1))


def padded_kernels(torch, q, k, v, lengths, causal):
    """For texts of several lengths, padded to the longest before the clock starts: cuDNN takes none of these otherwise. Causal ones
    see no padding; the others are kept from it by a mask."""
    attention = torch.nn.attention
    q, k, v = (torch.nn.utils.rnn.pad_sequence(x.split(lengths), batch_first=True).transpose(1, 2) for x in (q, k, v))
    alive = torch.arange(max(lengths), device=q.device)[None] < torch.tensor(lengths, device=q.device)[:, None]
    mask = None if causal else alive[:, None, None].expand(-1, 1, max(lengths), -1)

    def run():
        with attention.sdpa_kernel(attention.SDPBackend.CUDNN_ATTENTION if q.is_cuda else attention.SDPBackend.MATH):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    yield "padded to the longest by PyTorch, cuDNN", run, lambda y: y.transpose(1, 2)[alive]


def nested_kernels(torch, q, k, v, starts, lengths, causal):
    """For packed texts as nested tensors, whose lengths PyTorch knows."""
    attention = torch.nn.attention
    backends = {"nested by PyTorch, cuDNN": attention.SDPBackend.CUDNN_ATTENTION,
                "nested by PyTorch, flash": attention.SDPBackend.FLASH_ATTENTION}

    def make(backend):
        nested = [torch.nested.nested_tensor_from_jagged(x.contiguous(), starts.long(), min_seqlen=min(lengths),
                                                         max_seqlen=max(lengths)).transpose(1, 2) for x in (q, k, v)]

        def run():
            with attention.sdpa_kernel(backend):
                return torch.nn.functional.scaled_dot_product_attention(*nested, is_causal=causal)
        return run

    for name, backend in backends.items():
        yield name, models.made(lambda b=backend: make(b)), lambda y: y.transpose(1, 2).values()


def packed_kernels(torch, q, k, v, starts, lengths, causal):
    """For sequences one after another."""
    longest = max(lengths)
    # What has no heads to share gets them repeated before the clock starts.
    many_k, many_v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    yield "packed by PyTorch", first_that_works(
        lambda: torch.ops.aten._flash_attention_forward(q, k, v, starts, starts, longest, longest, 0.0, causal, False)[0],
        lambda: torch.ops.aten._flash_attention_forward(q, many_k, many_v, starts, starts, longest, longest, 0.0, causal, False)[0]
    ), lambda y: y
    try:
        from torch.nn.attention.varlen import varlen_attn
        named = inspect.signature(varlen_attn).parameters  # the name has changed from one release to another
        window = {} if not causal else {"window_size": (-1, 0)} if "window_size" in named else {"is_causal": True}
        yield ("varlen_attn by PyTorch", lambda: varlen_attn(q, many_k, many_v, starts, starts, longest, longest, **window),
               lambda y: y)
    except ImportError as error:
        yield "varlen_attn by PyTorch", error, None
    if min(lengths) != longest:  # those of one length have cuDNN's kernel without them
        yield from padded_kernels(torch, q, many_k, many_v, lengths, causal)
        yield from nested_kernels(torch, q, many_k, many_v, starts, lengths, causal)
    for module, name in (("flash_attn", "flash-attn"), ("flash_attn_interface", "flash-attn 3")):
        try:
            function = __import__(module).flash_attn_varlen_func
            yield (name, lambda f=function: f(q, k, v, starts, starts, longest, longest, causal=causal),
                   lambda y: y[0] if isinstance(y, tuple) else y)
        except ImportError as error:
            yield name, error, None


def plain_kernel(torch, q, k, v, lengths, causal):
    """For the CPU: text by text."""
    functional = torch.nn.functional

    def run():
        texts = (tuple(x.transpose(0, 1)[None] for x in text) for text in zip(*(x.split(lengths) for x in (q, k, v))))
        return torch.cat([functional.scaled_dot_product_attention(*text, is_causal=causal, enable_gqa=True)[0].transpose(0, 1)
                          for text in texts])
    return [("text by text by PyTorch", run, lambda y: y)]


def attention_cases(torch, device, dry):
    """(row, function or exception, what makes its result rows)."""
    tokens, part = (DRY_TOKENS, DRY_PART) if dry else (TOKENS, 1)
    for length in (0,) if dry else LENGTHS:
        for heads, kv_heads, size, causal, everywhere in HEADS:
            if not everywhere and length not in SELDOM:
                continue
            heads, kv_heads = heads // part, kv_heads // part
            lengths = [length] * (tokens // length) if length else mixed_lengths(tokens)
            shape = (f"{len(lengths)} sequences of {length or f'16 to {max(lengths)}'}, {heads} heads of {size}, {kv_heads} of keys"
                     + (", causal" if causal else ""))
            starts = torch.tensor([sum(lengths[:i]) for i in range(len(lengths) + 1)], device=device, dtype=torch.int32)
            # The very memory of bench_attention: rows of queries, keys and values side by side.
            qkv = random_values(torch, device, sum(lengths) * (heads + 2 * kv_heads) * size, 2).view(sum(lengths), -1, size)
            q, k, v = qkv.split((heads, kv_heads, kv_heads), dim=1)
            # All tensors of a shape are dropped before those of the next are made.
            kernels = list(equal_kernels(torch, device, q, k, v, length, causal)) if length else []
            kernels += plain_kernel(torch, q, k, v, lengths, causal) if device == "cpu" else \
                list(packed_kernels(torch, q, k, v, starts, lengths, causal))
            for name, run, rows in kernels:
                yield {"kernel": "attention", "shape": shape, "peer": name}, run, rows


# ---- rows ----

def our_results(folder):
    """(kernel, shape): the sample that the benchmarks printed."""
    samples = {}
    for name in ("bench", "model"):
        path = os.path.join(folder or "", f"{name}.jsonl")
        if folder and os.path.exists(path):
            with open(path, encoding="utf-8") as lines:
                for row in map(json.loads, lines):
                    if "sample" in row:
                        samples[row["kernel"], row["shape"]] = row["sample"]
    return samples


def difference(torch, found, sample):
    """As bench_difference: of the result's elements bench_sample_at; None where one of them is no number."""
    values = found.reshape(-1)[torch.tensor([i * 2654435761 % found.numel() for i in range(SAMPLES)], device=found.device)]
    values = values.double().tolist()
    if None in sample or not all(map(math.isfinite, values)):
        return None
    return round(math.sqrt(sum((a - b) ** 2 for a, b in zip(values, sample)) / sum(b * b for b in sample)), 5)


class Rows:
    """Measures and prints; what a peer cannot do is its answer, not an error of this program."""

    def __init__(self, options):
        self.end = time.monotonic() + options.seconds
        self.each, self.ours = options.each, our_results(options.found)
        self.note = {"dry": True} if options.dry else {}
        signal.signal(signal.SIGALRM, self.cut)

    @staticmethod
    def cut(*_):
        raise Cut

    def write(self, torch, row, measure):
        """measure: to (seconds, the result as far as it is ours, or None)."""
        left, begun = min(self.each, self.end - time.monotonic()), time.monotonic()
        row = row | self.note
        try:
            if left <= 0:
                raise Cut
            signal.setitimer(signal.ITIMER_REAL, left, 5)  # again, should it be lost in a callback
            seconds, found = measure()
            signal.setitimer(signal.ITIMER_REAL, 0)
            row["us"] = round(seconds * 1e6, 2)
            if found is not None and (row["kernel"], row["shape"]) in self.ours:
                row["difference"] = difference(torch, found, self.ours[row["kernel"], row["shape"]])
        except Cut:
            row["cut"] = f"after {time.monotonic() - begun:.0f} s" if left > 0 else "not begun: no time was left"
        except Exception as error:  # pylint: disable=broad-except
            row["refused"] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(row), flush=True)


def write_attention(torch, timer, rows, dry):
    for row, run, as_rows in attention_cases(torch, timer.device, dry):
        def measure(run=run, as_rows=as_rows):
            if isinstance(run, Exception):
                raise run
            seconds, result = timer.kernel(run)
            return seconds, as_rows(result)
        rows.write(torch, row, measure)


def write_model(torch, timer, rows, folder, name, dry):
    for row, make, rounds, comparable in models.cases(torch, timer.device, folder, name, dry):
        graphs = []

        def measure(make=make, rounds=rounds, comparable=comparable, graphs=graphs):
            run = make()
            seconds, result = timer.call(run, rounds)
            graphs.append(getattr(run, "graph", None))
            return seconds, result[-1] if comparable else None
        rows.write(torch, row, measure)
        if graphs and graphs[0] and row["shape"] == "1 texts of 128 tokens":
            row = {"kernel": f"{name}, host asks, replay", "shape": "a run of 128 tokens", "peer": "PyTorch's CUDAGraph"}
            rows.write(torch, row, lambda graphs=graphs: (timer.host(graphs[0].replay), None))
        if timer.device == "cuda":
            torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only")
    parser.add_argument("--found")
    parser.add_argument("--models")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--each", type=float, default=60)
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    rows = Rows(options)
    try:
        import torch
    except ImportError:
        sys.exit("python3 has no torch")
    device = "cpu" if options.dry else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    timer = Timer(torch, device)
    names = sorted(os.listdir(options.models)) if options.models else []
    with torch.inference_mode():
        if options.only in (None, "attention"):
            write_attention(torch, timer, rows, options.dry)
        for name in names:
            if options.only in (None, name):
                write_model(torch, timer, rows, os.path.join(options.models, name), name, options.dry)


if __name__ == "__main__":
    main()
