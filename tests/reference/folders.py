"""Where things are: the fixtures, the cache of weights, and a tokenizer as the reference uses it."""
import hashlib
import os
import pathlib

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures"


def minilm():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return cache / "recto/models/all-minilm-l6-v2"


def tokenizer(folder):
    """MiniLM's tokenizer.json asks for truncation and padding at 128 tokens; both are left out, here and in recto."""
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.no_truncation()
    made.no_padding()
    return made


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
