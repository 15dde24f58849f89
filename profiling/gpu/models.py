"""Whole encoders as peers of bench_model: BERT as PyTorch computes it, and sentence-transformers. The same shapes and as many
tokens; weights are random, so only times are compared."""
import os

# name: layers, width, heads, inner; as scripts/gpu makes the folders
SHAPES = {"BERT-base": (12, 768, 12, 3072), "MiniLM-L6": (6, 384, 12, 1536), "BERT-large": (24, 1024, 16, 4096)}
SMALL = {"BERT-base": (2, 64, 2, 128)}  # where only errors are looked for
WORDS, POSITIONS, BATCH = 30522, 512, 64


def encoder(torch, layers, width, heads, inner):
    """ids [texts, tokens], and where not null a mask of the keys [texts, 1, 1, tokens], to vectors [texts, width]."""
    nn = torch.nn

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
            self.norm_attention, self.norm_output = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)

        def forward(self, x, mask):
            texts, tokens, _ = x.shape
            q, k, v = self.qkv(x).view(texts, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            mix = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            x = self.norm_attention(x + self.out(mix.transpose(1, 2).reshape(texts, tokens, width)))
            return self.norm_output(x + self.down(nn.functional.gelu(self.up(x))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.positions = nn.Embedding(WORDS, width), nn.Embedding(POSITIONS, width)
            self.norm, self.layers = nn.LayerNorm(width, 1e-12), nn.ModuleList(Layer() for _ in range(layers))

        def forward(self, ids, mask=None):
            x = self.norm(self.words(ids) + self.positions.weight[:ids.shape[1]])
            for layer in self.layers:
                x = layer(x, mask)
            return nn.functional.normalize(x[:, 0].float(), dim=-1)

    return Encoder().eval()


def batches(torch, device, lengths):
    """ids and masks of the texts sorted by length, padded to the longest of a batch, which are as large as 64 texts of 512."""
    lengths, result = sorted(lengths), []
    while lengths:
        count = max(1, min(len(lengths), BATCH * POSITIONS // lengths[-1]))
        batch, lengths = lengths[-count:], lengths[:-count]
        ids = torch.randint(WORDS, (count, batch[-1]), device=device)
        tokens = torch.tensor(batch, device=device)[:, None, None, None]
        mask = torch.arange(batch[-1], device=device)[None, None, None, :] < tokens
        result.append((ids, None if batch[0] == batch[-1] else mask))
    return result


def with_torch(torch, device, shape, lengths, is_compiled):
    """A function that embeds all texts and brings the vectors to the host, as bench_model's call does."""
    network = encoder(torch, *shape).to(device, torch.bfloat16)
    work = batches(torch, device, lengths)
    if is_compiled:
        torch._dynamo.reset()  # what was compiled for another shape would ask for dynamic ones
        network = torch.compile(network, mode="reduce-overhead" if device == "cuda" else None, dynamic=False,
                                backend="inductor" if device == "cuda" else "eager")
    return lambda: [network(ids, mask).cpu() for ids, mask in work]


def with_sentence_transformers(device, folder, lengths):
    """Its own batches, sorted and padded; the texts are letters, a token each, so it also tokenises."""
    if not folder or not os.path.isdir(folder):
        raise FileNotFoundError("the folder of the model is not here")
    from sentence_transformers import SentenceTransformer
    import torch
    network = SentenceTransformer(folder, device=device, local_files_only=True).to(torch.bfloat16)
    texts = ["a " * (length - 2) for length in lengths]  # two more stand around every text
    return lambda: network.encode(texts, batch_size=BATCH if len(texts) > 1 else 1, convert_to_tensor=True).float().cpu()


def made(make):
    """What to time, or the exception that says why there is nothing."""
    try:
        return make()
    except Exception as error:  # pylint: disable=broad-except
        return error


def works(dry):
    """(kind, shape, lengths, rounds) as bench_model has them."""
    if dry:
        return [("bulk", "3 texts of 9 tokens", [9] * 3, 1), ("mixed", "5 texts", [16 + i * 37 % 113 for i in range(5)], 1)]
    return [("one", "1 texts of 128 tokens", [128], 100), ("bulk", "2048 texts of 512 tokens", [512] * 2048, 3),
            ("mixed", "16384 texts of 16 to 128 tokens", [16 + i * 37 % 113 for i in range(16384)], 3),
            ("one", "1 texts of 16 tokens", [16], 100)]


def cases(torch, device, folders, dry):
    """(row, function that makes what is timed, rounds), the most wanted first."""
    for name, shape in (SMALL if dry else SHAPES).items():
        folder = folders and os.path.join(folders, name)
        for kind, texts, lengths, rounds in works(dry):
            row = {"kernel": f"{name}, {kind}", "shape": texts}
            # Every length of a padded batch would be compiled on its own.
            if kind != "mixed":
                yield (row | {"peer": "torch.compile, reduce-overhead"},
                       lambda s=shape, l=lengths: with_torch(torch, device, s, l, True), rounds)
            yield row | {"peer": "PyTorch"}, lambda s=shape, l=lengths: with_torch(torch, device, s, l, False), rounds
            yield (row | {"peer": "sentence-transformers"},
                   lambda f=folder, l=lengths: with_sentence_transformers(device, f, l), rounds)
