"""Whole encoders as peers of bench_model: BERT as PyTorch computes it, and sentence-transformers, with the weights of the folders
that bench_model ran and the same ids, so that results can be held beside each other."""
import json
import os
import time

TOKENS = 32768  # of a batch
PACKED_FROM, PACKED_TO = 16, 128  # tokens of a text in a mixed batch


def configuration(folder):
    """What the folder says of its model."""
    def read(name):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return json.load(file)

    config = read("config.json")
    config["takes_mean"] = read("1_Pooling/config.json")["pooling_mode_mean_tokens"]
    config["normalizes"] = any("Normalize" in module["type"] for module in read("modules.json"))
    return config


def tensors(torch, folder):
    """name: tensor, of a folder's model.safetensors."""
    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    return {name: torch.frombuffer(data, dtype=types[entry["dtype"]], offset=entry["data_offsets"][0],
                                   count=(entry["data_offsets"][1] - entry["data_offsets"][0]) // types[entry["dtype"]].itemsize)
            .reshape(entry["shape"]) for name, entry in header.items() if entry.get("dtype") in types}


# ---- what computes a batch; x [tokens, width], or [texts, tokens, width] where all are as long ----

def attention_equal(torch):
    """Of texts of one length."""
    def attend(q, k, v, _):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    return attend


def attention_packed(torch, longest):
    """Of texts one after another that begin at `starts`."""
    try:
        from torch.nn.attention.varlen import varlen_attn
        return lambda q, k, v, starts: varlen_attn(q, k, v, starts, starts, longest, longest)
    except ImportError:
        return lambda q, k, v, starts: torch.ops.aten._flash_attention_forward(
            q, k, v, starts, starts, longest, longest, 0.0, False, False)[0]


def attention_masked(torch):
    """The same for a CPU, which has no such kernel."""
    def attend(q, k, v, starts):
        owner = torch.searchsorted(starts[1:].contiguous(), torch.arange(q.shape[0]), right=True)
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=owner[:, None] == owner)[0].transpose(0, 1)
    return attend


def encoder(torch, folder, attend):
    """(ids, positions, starts or None) to vectors; its `layers` can be compiled one by one: they are all alike."""
    nn, config = torch.nn, configuration(folder)
    width, heads, inner = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
            self.norm_attention, self.norm_output = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)

        def forward(self, x, starts):
            q, k, v = self.qkv(x).unflatten(-1, (3, heads, width // heads)).unbind(-3)
            x = self.norm_attention(x + self.out(attend(q, k, v, starts).flatten(-2)))
            return self.norm_output(x + self.down(nn.functional.gelu(self.up(x))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(config["vocab_size"], width)
            self.positions = nn.Embedding(config["max_position_embeddings"], width)
            self.types = nn.Embedding(config["type_vocab_size"], width)
            self.norm = nn.LayerNorm(width, 1e-12)
            self.layers = nn.ModuleList(Layer() for _ in range(config["num_hidden_layers"]))

        def forward(self, ids, positions, starts=None):
            x = self.norm(self.words(ids) + self.positions(positions) + self.types.weight[0])
            for layer in self.layers:
                x = layer(x, starts)
            x = pooled(torch, x.float(), starts, config["takes_mean"])
            return nn.functional.normalize(x, dim=-1) if config["normalizes"] else x

    network = Encoder()
    fill(torch, network, tensors(torch, folder))
    return network.eval()


def pooled(torch, x, starts, takes_mean):
    if starts is None:
        return x.mean(1) if takes_mean else x[:, 0]
    if not takes_mean:
        return x[starts[:-1].clamp(max=x.shape[0] - 1).long()]
    owner = torch.searchsorted(starts[1:].contiguous(), torch.arange(x.shape[0], device=x.device, dtype=starts.dtype), right=True)
    sums = torch.zeros(starts.shape[0] - 1, x.shape[1], device=x.device).index_add(0, owner, x)
    return sums / (starts[1:] - starts[:-1]).clamp(min=1)[:, None]


def fill(torch, network, found):
    """With the weights of a checkpoint of BERT."""
    def put(module, *names):
        for what in ("weight", "bias"):
            if getattr(module, what, None) is not None:
                getattr(module, what).copy_(torch.cat([found[f"{name}.{what}"] for name in names]))

    with torch.no_grad():
        for module, name in ((network.words, "word_embeddings"), (network.positions, "position_embeddings"),
                             (network.types, "token_type_embeddings"), (network.norm, "LayerNorm")):
            put(module, f"embeddings.{name}")
        for number, layer in enumerate(network.layers):
            stem = f"encoder.layer.{number}."
            put(layer.qkv, *(f"{stem}attention.self.{name}" for name in ("query", "key", "value")))
            put(layer.out, stem + "attention.output.dense")
            put(layer.norm_attention, stem + "attention.output.LayerNorm")
            put(layer.up, stem + "intermediate.dense")
            put(layer.down, stem + "output.dense")
            put(layer.norm_output, stem + "output.LayerNorm")


# ---- batches ----

def ids_of(torch, text, length, words):
    """Those of bench_model."""
    return ((text + 1) * 7919 + torch.arange(length) * 104729) % words


def equal_batches(torch, lengths, words):
    """(texts, ids, positions, None) of texts of one length, the last batch filled up with its first text so that all are alike."""
    length, count = lengths[0], max(1, min(len(lengths), TOKENS // lengths[0]))
    for first in range(0, len(lengths), count):
        texts = list(range(first, min(first + count, len(lengths))))
        ids = torch.stack([ids_of(torch, text, length, words) for text in texts + texts[:1] * (count - len(texts))])
        yield texts, ids, torch.arange(length).expand(count, -1).contiguous(), None


def packed_batches(torch, lengths, words, tokens):
    """(texts, ids, positions, starts) of as many texts as fit one after another; all tensors are as large in every batch."""
    groups, left = [[]], tokens
    for text, length in enumerate(lengths):
        if length > left:
            groups.append([])
            left = tokens
        groups[-1].append(text)
        left -= length
    filled = [[lengths[text] for text in texts] for texts in groups]
    for group in filled:  # what is left over is texts too, which nobody asks for
        while sum(group) < tokens:
            group.append(min(PACKED_TO, tokens - sum(group)))
    most = max(len(group) for group in filled)
    for texts, group in zip(groups, filled):
        ids = torch.cat([ids_of(torch, text, length, words) for text, length in
                         zip(texts + [0] * (len(group) - len(texts)), group)])
        starts = torch.tensor([sum(group[:i]) for i in range(len(group) + 1)] + [tokens] * (most - len(group)), dtype=torch.int32)
        yield texts, ids, torch.cat([torch.arange(length) for length in group]), starts


def batches_of(torch, device, lengths, words, dry):
    is_equal = len(set(lengths)) == 1
    made = equal_batches(torch, lengths, words) if is_equal else packed_batches(torch, lengths, words, 1024 if dry else TOKENS)
    return [(texts, tuple(x if x is None else x.to(device) for x in batch)) for texts, *batch in made]


def made(make):
    """What is made, or the exception that says why there is nothing."""
    try:
        return make()
    except Exception as error:  # pylint: disable=broad-except
        return error


# ---- what is timed ----

ALL_KINDS = ("cudnn", "flash", "mem_efficient", "math")


def allow(torch, *kinds):
    """PyTorch's attention may use these kernels alone, from now on: a text alone would wait for who says so at every call."""
    for kind in ALL_KINDS:
        getattr(torch.backends.cuda, f"enable_{kind}_sdp")(kind in kinds)


def allow_fastest(torch, folder, batch):
    """Of PyTorch's kernels for texts of one length: cuDNN's or the flash kernel."""
    config, times = configuration(folder), {}
    heads = config["num_attention_heads"]
    q = torch.randn(*batch.shape, heads, config["hidden_size"] // heads, device="cuda", dtype=torch.bfloat16)
    for kind in ("cudnn", "flash"):
        allow(torch, kind)
        try:
            for _ in range(10):
                torch.cuda.synchronize()
                begun = time.perf_counter()
                for _ in range(5):
                    attention_equal(torch)(q, q, q, None)
                torch.cuda.synchronize()
                times[kind] = min(times.get(kind, 1e9), time.perf_counter() - begun)
        except RuntimeError:
            continue
    allow(torch, *sorted(times, key=times.get)[:1] or ALL_KINDS)


def captured(torch, run, example):
    """`run` as a graph of CUDA with its inputs in one place: what reduce-overhead makes too, but of layers compiled once."""
    held = tuple(x if x is None else x.clone() for x in example)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run(*held)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run(*held)

    def replay(*batch):
        for to, x in zip(held, batch):
            if to is not None:
                to.copy_(x)
        graph.replay()
        return result
    replay.graph = graph
    return replay


def with_torch(torch, device, folder, lengths, way, dry):
    """A function that embeds all texts and brings the vectors to the host, as bench_model's call does. way: "plain"; "layers": they
    are compiled, and the whole captured; "whole": torch.compile of it all with reduce-overhead."""
    work = batches_of(torch, device, lengths, configuration(folder)["vocab_size"], dry)
    example = work[0][1]
    allow(torch, *ALL_KINDS)
    if example[2] is None:
        attend = attention_equal(torch)
        if device == "cuda":
            allow_fastest(torch, folder, example[0])
    else:
        attend = attention_masked(torch) if device == "cpu" else attention_packed(torch, PACKED_TO)
    network = encoder(torch, folder, attend).to(device, torch.bfloat16)
    run, backend = network, "inductor" if device == "cuda" else "eager"
    torch._dynamo.reset()  # what was compiled for another shape would ask for dynamic ones
    if way == "layers":
        for layer in network.layers:
            layer.compile(dynamic=False, backend=backend)
        run = captured(torch, network, example) if device == "cuda" else network
    elif way == "whole":
        run = torch.compile(network, dynamic=False, backend=backend, **({"mode": "reduce-overhead"} if device == "cuda" else {}))
    vectors = torch.empty(len(lengths), configuration(folder)["hidden_size"], device=device)

    def embed():
        for texts, batch in work:
            vectors[texts[0]:texts[-1] + 1] = run(*batch)[:len(texts)]
        return vectors.cpu()
    embed.graph = getattr(run, "graph", None)
    return embed


def with_sentence_transformers(torch, device, folder, lengths, tokenizes):
    """In batches sorted by length and padded, as its encode makes them: with its tokenizer, of letters, a token each; or the
    network alone with bench_model's ids."""
    from sentence_transformers import SentenceTransformer
    allow(torch, *ALL_KINDS)
    network = SentenceTransformer(folder, device=device, local_files_only=True).to(torch.bfloat16)
    if tokenizes:
        texts = ["a " * (length - 2) for length in lengths]  # two more stand around every text
        size = max(1, min(len(texts), 2 * TOKENS // max(lengths) if len(set(lengths)) > 1 else TOKENS // lengths[0]))
        return lambda: network.encode(texts, batch_size=size, convert_to_tensor=True).float().cpu()
    order, work = sorted(range(len(lengths)), key=lambda text: lengths[text]), []
    words = configuration(folder)["vocab_size"]
    while order:
        count = max(1, min(len(order), TOKENS // lengths[order[-1]]))
        texts, order = order[-count:], order[:-count]
        ids = torch.nn.utils.rnn.pad_sequence([ids_of(torch, text, lengths[text], words) for text in texts], batch_first=True)
        mask = torch.arange(ids.shape[1])[None] < torch.tensor([lengths[text] for text in texts])[:, None]
        work.append((torch.tensor(texts, device=device), {"input_ids": ids.to(device), "attention_mask": mask.to(device).long()}))
    vectors = torch.empty(len(lengths), configuration(folder)["hidden_size"], device=device)

    def embed():
        for texts, batch in work:
            vectors[texts] = network(dict(batch))["sentence_embedding"].float()
        return vectors.cpu()
    return embed


def works(folder, dry):
    """(kind, shape, lengths, rounds) as bench_model has them, the most wanted first."""
    mixed = [PACKED_FROM + i * 37 % (PACKED_TO - PACKED_FROM + 1) for i in range(5 if dry else 16384)]
    if dry:
        return [("bulk", "3 texts of 9 tokens", [9] * 3, 1), ("one", "1 texts of 9 tokens", [9], 1)] + \
            ([("mixed", "5 texts", mixed, 1)] if configuration(folder)["max_position_embeddings"] >= PACKED_TO else [])
    return [("bulk", "2048 texts of 512 tokens", [512] * 2048, 3), ("one", "1 texts of 128 tokens", [128], 100),
            ("mixed", "16384 texts of 16 to 128 tokens", mixed, 3), ("one", "1 texts of 16 tokens", [16], 100)]


WAYS = {"layers": "torch.compile of layers, in a graph", "plain": "PyTorch", "whole": "torch.compile, reduce-overhead"}


def cases(torch, device, folder, name, dry):
    """(row, function that makes what is timed, rounds, whether its vectors are bench_model's), the cheapest to compile first."""
    def case(work, peer, make, comparable=True):
        kind, texts, lengths, rounds = work
        return {"kernel": f"{name}, {kind}", "shape": texts, "peer": peer}, lambda: make(lengths), rounds, comparable

    def of_torch(way):
        return lambda lengths: with_torch(torch, device, folder, lengths, way, dry)

    def of_sentences(tokenizes):
        return lambda lengths: with_sentence_transformers(torch, device, folder, lengths, tokenizes)

    wanted = works(folder, dry)
    for work in wanted:
        yield case(work, WAYS["layers"], of_torch("layers"))
        yield case(work, "sentence-transformers, of ids", of_sentences(False))
    for work in wanted[:3]:
        yield case(work, "sentence-transformers", of_sentences(True), False)
    for work in wanted[:3]:
        yield case(work, WAYS["whole"], of_torch("whole"))
    for work in wanted:
        yield case(work, WAYS["plain"], of_torch("plain"))
