"""The vectors that recto's MiniLM is held against: transformers' BertModel in fp32 with the real weights.

One text at a time, so nothing is padded; the mean over all tokens, then L2. The texts are those of texts.py.

    python minilm_golden.py make  [--model FOLDER] [--output FILE.npy]   write the vectors, and a .json that says how they were made
    python minilm_golden.py check FILE.npy [--worst W] [--mean M]        compare vectors with the committed ones by 1 - cosine
"""
import argparse
import json
import pathlib
import platform
import sys

import numpy

import folders

TEXTS = folders.FIXTURES / "embed/texts.jsonl"
GOLDEN = folders.FIXTURES / "embed/minilm_fp32.npy"


def read_texts():
    with open(TEXTS, encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def embed(model_folder, texts):
    import torch
    from transformers import BertModel
    torch.set_num_threads(2)
    tokenizer = folders.tokenizer(model_folder)
    model = BertModel.from_pretrained(model_folder, dtype=torch.float32, attn_implementation="eager").eval()
    vectors = numpy.empty((len(texts), model.config.hidden_size), numpy.float32)
    with torch.inference_mode():
        for number, text in enumerate(texts):
            ids = torch.tensor([tokenizer.encode(text).ids])
            mean = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].mean(dim=0)
            vectors[number] = torch.nn.functional.normalize(mean, dim=0).numpy()
            if sys.stderr.isatty():
                print(f"\r{number + 1} of {len(texts)} texts", end="", file=sys.stderr)
    return vectors


def describe(model_folder, shape):
    import tokenizers
    import torch
    import transformers
    return {
        "what": "unit vectors of texts.jsonl by transformers' BertModel in fp32, one text at a time, mean of all tokens, L2",
        "script": "tests/reference/minilm_golden.py", "command": "minilm_golden.py make", "shape": list(shape),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
                     "tokenizers": tokenizers.__version__, "numpy": numpy.__version__},
        "sha256": {"model.safetensors": folders.sha256(model_folder / "model.safetensors"),
                   "tokenizer.json": folders.sha256(model_folder / "tokenizer.json"), "texts.jsonl": folders.sha256(TEXTS)},
    }


def make(arguments):
    vectors = embed(arguments.model, read_texts())
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    numpy.save(arguments.output, vectors)
    description = json.dumps(describe(arguments.model, vectors.shape), indent=1)
    arguments.output.with_suffix(".json").write_text(description + "\n")
    print(f"{arguments.output}: {vectors.shape[0]} vectors of {vectors.shape[1]}")
    return 0


def distances(found, expected):
    """1 - cosine of each pair of rows; of a row that is zero or not finite it is infinite."""
    found, expected = found.astype(numpy.float64), expected.astype(numpy.float64)
    with numpy.errstate(all="ignore"):
        cosine = (found * expected).sum(1) / (numpy.linalg.norm(found, axis=1) * numpy.linalg.norm(expected, axis=1))
    return numpy.where(numpy.isfinite(cosine), 1 - cosine, numpy.inf)


def check(arguments):
    found, expected = numpy.load(arguments.file), numpy.load(GOLDEN)
    if found.shape != expected.shape:
        print(f"{arguments.file} has shape {found.shape}, expected {expected.shape}")
        return 1
    distance = distances(found, expected)
    worst, mean = float(distance.max()), float(distance.mean())
    passed = worst <= arguments.worst and mean <= arguments.mean
    print(f"{arguments.file}: 1 - cosine worst {worst:.3g} (text {int(distance.argmax())}, bound {arguments.worst:g}), "
          f"mean {mean:.3g} (bound {arguments.mean:g}): {'ok' if passed else 'FAILED'}")
    return 0 if passed else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make")
    maker.add_argument("--model", type=pathlib.Path, default=folders.minilm())
    maker.add_argument("--output", type=pathlib.Path, default=GOLDEN)
    maker.set_defaults(run=make)
    checker = commands.add_parser("check")
    checker.add_argument("file", type=pathlib.Path)
    checker.add_argument("--worst", type=float, default=1e-9)
    checker.add_argument("--mean", type=float, default=1e-9)
    checker.set_defaults(run=check)
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
