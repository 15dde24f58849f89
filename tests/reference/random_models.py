"""Model folders with random weights, and what transformers makes of them: the twin of tests/tools/make_random_model.c.

The folders are not kept, for both programs make them byte for byte; SHA256SUMS holds that to account. Kept are the vectors:
tests/fixtures/models/NAME.npy, a row for each case of NAME.json (a text, the name of a prompt or null, the token ids).
The reference loads the file's values as fp32 (F16 and BF16 widened) into BertModel, runs one text at a time and pools here.

    python random_models.py golden [--output FOLDER]   vectors, cases and SHA256SUMS of every line of models.tsv
    python random_models.py check FOLDER               compares vectors made anew with the committed ones
"""
import argparse
import csv
import hashlib
import json
import pathlib
import platform
import sys

import numpy

import folders

FOLDER = folders.FIXTURES / "models"
POSITIONS = 64
COMMAND = "random_models.py golden"
TEXTS = ["a", "river", "The old bridge.", "Seven clerks weighed the ledger at noon - in 2024!", "mill? roof, door; key: 42/7 (91%) & more",
         "zxqj", "日本 é", "not an easy letter to read in the harbour light, said the judge",
         "the night train to the north station is late by eleven hours, as snow fell on the road and the field",
         "winter " * 29 + "water", "stone " * 30, "map " * 62]


def recipes():
    with open(FOLDER / "models.tsv", encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))


def vocabulary():
    return (FOLDER / "vocab.txt").read_text(encoding="utf-8").splitlines()


# ---- random elements ----

def mixed(x):
    with numpy.errstate(over="ignore"):
        x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return x ^ (x >> numpy.uint64(31))


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def random_values(name, count, offset, scale):
    with numpy.errstate(over="ignore"):
        index = numpy.uint64(fnv1a(name)) + numpy.arange(count, dtype=numpy.uint64)
    unit = ((mixed(index) >> numpy.uint64(40)).astype(numpy.int32) - 2**23).astype(numpy.float32) / numpy.float32(2**23)
    return numpy.float32(offset) + numpy.float32(scale) * unit


def encoded(values, dtype):
    """The file's bytes of fp32 values."""
    if dtype == "F32":
        return values.astype("<f4").tobytes()
    if dtype == "F16":
        return values.astype("<f2").tobytes()
    bits = values.view(numpy.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


# ---- the tensors of a model, in the order of the file ----

WEIGHT, BIAS, NORM_WEIGHT, NORM_BIAS, EMBEDDING = "weight", "bias", "norm weight", "norm bias", "embedding"


def linear(stem, outputs, inputs):
    return [(f"{stem}.weight", (outputs, inputs), WEIGHT), (f"{stem}.bias", (outputs,), BIAS)]


def norm(recipe, stem, width):
    weight, bias = ("gamma", "beta") if recipe["norms"] == "gamma" else ("weight", "bias")
    return [(f"{stem}.{weight}", (width,), NORM_WEIGHT), (f"{stem}.{bias}", (width,), NORM_BIAS)]


def layer(recipe, stem, hidden, inner):
    tensors = []
    for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        tensors += linear(stem + part, hidden, hidden)
    tensors += norm(recipe, stem + "attention.output.LayerNorm", hidden)
    tensors += linear(stem + "intermediate.dense", inner, hidden) + linear(stem + "output.dense", hidden, inner)
    return tensors + norm(recipe, stem + "output.LayerNorm", hidden)


def network(recipe):
    prefix = "" if recipe["prefix"] == "-" else recipe["prefix"]
    hidden, inner = int(recipe["hidden"]), int(recipe["inner"])
    tensors = [(f"{prefix}embeddings.{kind}_embeddings.weight", (rows, hidden), EMBEDDING)
               for kind, rows in (("word", len(vocabulary())), ("position", POSITIONS), ("token_type", 2))]
    tensors += norm(recipe, f"{prefix}embeddings.LayerNorm", hidden)
    for number in range(int(recipe["layers"])):
        tensors += layer(recipe, f"{prefix}encoder.layer.{number}.", hidden, inner)
    tensors += linear(f"{prefix}pooler.dense", hidden, hidden)
    if prefix:
        tensors += [(f"{prefix}embeddings.position_ids", (1, POSITIONS), None), ("cls.predictions.bias", (len(vocabulary()),), BIAS)]
    return tensors


def values_of(recipe, name, shape, kind):
    columns = numpy.float32(shape[-1])
    scale = {WEIGHT: numpy.float32(1.6) * numpy.sqrt(numpy.float32(3) / columns), BIAS: 0.2, NORM_BIAS: 0.3}.get(kind, 0.5)
    count = int(numpy.prod(shape))
    return random_values(f"{recipe['name']}/{name}", count, 1 if kind == NORM_WEIGHT else 0, scale).reshape(shape)


def safetensors_bytes(recipe, tensors, dtype):
    header, data, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape, kind in tensors:
        stored = numpy.arange(shape[-1], dtype="<i8").tobytes() if kind is None else encoded(values_of(recipe, name, shape, kind), dtype)
        header[name] = {"dtype": "I64" if kind is None else dtype, "shape": list(shape), "data_offsets": [offset, offset + len(stored)]}
        data.append(stored)
        offset += len(stored)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data)


# ---- what transformers makes of it ----

def bert_model(recipe, weights):
    import safetensors.torch
    from transformers import BertConfig, BertModel
    config = BertConfig(vocab_size=len(vocabulary()), hidden_size=int(recipe["hidden"]), num_hidden_layers=int(recipe["layers"]),
                        num_attention_heads=int(recipe["heads"]), intermediate_size=int(recipe["inner"]), hidden_act=recipe["activation"],
                        max_position_embeddings=POSITIONS, type_vocab_size=2, layer_norm_eps=1e-12, attn_implementation="eager")
    model = BertModel(config).eval()
    state = {}
    for name, tensor in safetensors.torch.load(weights).items():
        name = name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias")
        if not name.startswith("cls.") and not name.endswith("position_ids"):
            state[name] = tensor.float()
    left = model.load_state_dict(state, strict=False)
    assert not left.unexpected_keys and all("position_ids" in key or "token_type_ids" in key for key in left.missing_keys), left
    return model


def pooled(recipe, states):
    if recipe["pooling"] == "cls":
        return states[0]
    return states[-1] if recipe["pooling"] == "lasttoken" else states.mean(dim=0)


def embed(recipe, model, ids):
    import torch
    with torch.inference_mode():
        inputs = torch.tensor([ids])
        vector = pooled(recipe, model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).last_hidden_state[0])
        if recipe["dense"] != "-":
            outputs, activation = recipe["dense"].split(":")
            weight, bias = (torch.from_numpy(values_of(recipe, *tensor)) for tensor in linear("linear", int(outputs), int(recipe["hidden"])))
            vector = torch.nn.functional.linear(vector, weight, bias)
            vector = torch.tanh(vector) if activation == "Tanh" else vector
        if recipe["normalize"] == "yes":
            vector = torch.nn.functional.normalize(vector, dim=0)
        return vector.numpy()


def cases(recipe, tokenizer):
    listed = [(None, "", text) for text in TEXTS]
    listed += [(prompt, recipe[prompt], text) for prompt in ("query", "passage") if recipe[prompt] != "-" for text in TEXTS[:5]]
    return [{"text": text, "prompt": prompt, "ids": tokenizer.encode(words + text).ids} for prompt, words, text in listed]


def word_piece():
    from tokenizers import BertWordPieceTokenizer
    return BertWordPieceTokenizer(str(FOLDER / "vocab.txt"), lowercase=True)


def versions():
    import tokenizers
    import torch
    import transformers
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__, "numpy": numpy.__version__}


def golden(arguments):
    import torch
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    sums = []
    for recipe in recipes():
        weights = safetensors_bytes(recipe, network(recipe), recipe["dtype"])
        sums.append(f"{hashlib.sha256(weights).hexdigest()}  {recipe['name']}/model.safetensors\n")
        if recipe["dense"] != "-":
            dense = safetensors_bytes(recipe, linear("linear", int(recipe["dense"].split(":")[0]), int(recipe["hidden"])), "F32")
            sums.append(f"{hashlib.sha256(dense).hexdigest()}  {recipe['name']}/2_Dense/model.safetensors\n")
        model, listed = bert_model(recipe, weights), cases(recipe, word_piece())
        numpy.save(arguments.output / f"{recipe['name']}.npy", numpy.stack([embed(recipe, model, case["ids"]) for case in listed]))
        lines = ",\n  ".join(json.dumps(case, ensure_ascii=False) for case in listed)
        (arguments.output / f"{recipe['name']}.json").write_text(
            f'{{"script": "tests/reference/random_models.py", "command": "{COMMAND}",\n "versions": {json.dumps(versions())},\n '
            f'"cases": [\n  {lines}]}}\n', encoding="utf-8")
        print(recipe["name"], len(listed), "cases", flush=True)
    (arguments.output / "SHA256SUMS").write_text("".join(sums))
    return 0


def check(arguments):
    worst = 0.0
    for recipe in recipes():
        found, expected = (numpy.load(folder / f"{recipe['name']}.npy").astype(numpy.float64) for folder in (arguments.folder, FOLDER))
        distance = 1 - (found * expected).sum(1) / (numpy.linalg.norm(found, axis=1) * numpy.linalg.norm(expected, axis=1))
        worst = max(worst, float(numpy.where(numpy.isfinite(distance), distance, numpy.inf).max()))
    same_bytes = (arguments.folder / "SHA256SUMS").read_bytes() == (FOLDER / "SHA256SUMS").read_bytes()
    passed = worst <= 1e-9 and same_bytes
    print(f"random models: 1 - cosine worst {worst:.3g} (bound 1e-09), weights {'equal' if same_bytes else 'DIFFER'}: "
          f"{'ok' if passed else 'FAILED'}")
    return 0 if passed else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("golden")
    maker.add_argument("--output", type=pathlib.Path, default=FOLDER)
    maker.set_defaults(run=golden)
    checker = commands.add_parser("check")
    checker.add_argument("folder", type=pathlib.Path)
    checker.set_defaults(run=check)
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
