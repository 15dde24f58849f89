#!/usr/bin/env python3
"""Ids and offsets of the PyPI package `tokenizers`, as files that tests/unit/test_tokenizer.c compares with.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3
    venv/bin/python tests/reference/tokenizer_golden.py make            writes tests/fixtures/tokenizer/
    venv/bin/python tests/reference/tokenizer_golden.py check           makes them anew in memory and compares
    venv/bin/python tests/reference/tokenizer_golden.py million TOOL [COUNT [SEED]]
        compares the package with a build of tests/tools/tokenize_lines.c on COUNT (1,000,000) strings

Strings come from a seeded generator (`make`, `million`) and, in `million`, from the texts of this machine as well.
"""
import gzip
import json
import pathlib
import random
import struct
import subprocess
import sys

from tokenizers import Tokenizer

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "tokenizer"
VOCABULARY = (FIXTURES / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# clean_text, split_chinese, strip_accents, lower_case; the first is BERT uncased, the second BERT cased
SETTINGS = ["yyyy", "yynn", "yyny", "yyyn", "nnyy", "nynn", "ynnn"]
COUNT, READABLE, SEED = 20000, 200, 20260717


def tokenizer_json(settings, added=()):
    clean, chinese, strip, lower = (flag == "y" for flag in settings)
    ids = {token: i for i, token in enumerate(VOCABULARY)}
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [dict(id=ids[t], content=t, **special) for t in SPECIALS] + list(added),
        "normalizer": {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
                       "strip_accents": strip, "lowercase": lower},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                      {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")}},
        "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": ids}}, ensure_ascii=False)


# Words beside and around the added tokens of the second readable file, whose flags BERT's own tokens do not use.
ADDED = [dict(id=30522, content="<w>", single_word=True, lstrip=False, rstrip=False, normalized=False, special=False),
         dict(id=30523, content="<l>", single_word=False, lstrip=True, rstrip=False, normalized=False, special=False),
         dict(id=30524, content="<r>", single_word=False, lstrip=False, rstrip=True, normalized=False, special=True),
         dict(id=30525, content="<b>", single_word=True, lstrip=True, rstrip=True, normalized=False, special=True),
         dict(id=30526, content="<bb>x", single_word=False, lstrip=False, rstrip=False, normalized=False, special=False),
         dict(id=30527, content="é\u0323", single_word=True, lstrip=False, rstrip=False, normalized=False, special=False)]


class Strings:
    """An endless supply of texts that provoke every rule; the seed decides all."""

    def __init__(self, seed, real=()):
        self.random, self.real = random.Random(seed), list(real)
        self.marks = [chr(c) for c in range(0x300, 0x370)] + [chr(c) for c in
                      (0x302E, 0x302F, 0x1D165, 0x1D166, 0x1D16D, 0x16FF0, 0x3099, 0x5B0, 0x5C1, 0x64B, 0x93C, 0x94D, 0xE38,
                       0x1DC0, 0x20D0, 0x1CE9, 0x135D, 0x344, 0x340, 0x1CF7, 0x1E08F)]
        self.odd = list("İıßẞΣσςǅŒæﬁⅫ①²½Å\u212b\u2126\u1e9e;\u037e\u1fef·\u0387\u2260\u226e\u1d15e") + [chr(c) for c in
                   (0, 1, 7, 9, 10, 11, 12, 13, 0x1C, 0x7F, 0x80, 0x85, 0xA0, 0xAD, 0x34F, 0x61C, 0x180E, 0x1680, 0x2000, 0x200B,
                    0x200D, 0x2028, 0x2029, 0x202E, 0x2060, 0x3000, 0xFEFF, 0xFFFD, 0xFFFE, 0xE000, 0xE0001, 0x10FFFF, 0x1D15E,
                    0x1D1BB, 0x1F1E6, 0x1F468, 0xFE0F, 0x10400, 0x1E900, 0x2F800, 0x3400, 0x9FFF, 0xFA0E, 0xFB1D, 0x9DC, 0xBCA,
                    0x1100, 0x1161, 0x11A8, 0xAC00, 0xAC01, 0xD7A3, 0x11134, 0x114BB)]

    def code(self):
        r = self.random
        limit = r.choice((0x80, 0x250, 0x800, 0x3100, 0x10000, 0x20000, 0x110000))
        while True:
            c = r.randrange(limit)
            if not 0xD800 <= c <= 0xDFFF:
                return chr(c)

    def block(self):
        r = self.random
        first = ord(self.code()) & ~127
        space = r.random() * 0.4
        return "".join(" " if r.random() < space else chr(first + r.randrange(128)) for _ in range(r.randrange(1, 40)))

    def mixed(self):
        return "".join(self.code() for _ in range(self.random.randrange(1, 40)))

    def word(self):
        r = self.random
        word = "".join(r.choice(VOCABULARY).removeprefix("##") for _ in range(r.choice((1, 1, 1, 2, 3))))
        return r.choice((word, word.title(), word.upper()))

    def words(self):
        return self.random.choice((" ", " ", ", ", "-", "\t", "")).join(self.word() for _ in range(self.random.randrange(1, 16)))

    def marked(self):
        r = self.random
        base = "aeiouAEO nz中가한שক" + "".join(self.odd[:24])
        return "".join(r.choice(base) + "".join(r.choice(self.marks) for _ in range(r.choice((0, 1, 1, 2, 3, 9))))
                       for _ in range(r.randrange(1, 14)))

    def oddities(self):
        r = self.random
        return "".join(r.choice((r.choice(self.odd), r.choice("abcXYZ "), r.choice(self.marks), self.word(), " "))
                       for _ in range(r.randrange(1, 20)))

    def long_word(self):
        r = self.random
        unit = r.choice(("a", "ab", "é", "가", "я", "e\u0301", "\u0301", self.code(), self.word(), "^", "İ", "##", "x\u200b"))
        return r.choice(("", "a ", "中")) + unit * r.choice((1, 20, 49, 50, 51, 99, 100, 101, 102, 120)) + r.choice(("", "b", " c", "."))

    def specials(self):
        r = self.random
        return "".join(r.choice((r.choice(SPECIALS), r.choice(SPECIALS).lower(), r.choice(SPECIALS)[:-1], "[", " ", self.word(),
                                 r.choice(self.marks), r.choice(self.odd))) for _ in range(r.randrange(1, 10)))

    def hangul(self):
        r = self.random
        return "".join(r.choice((" ", chr(0xAC00 + r.randrange(11172)), chr(0x1100 + r.randrange(256)))) for _ in range(r.randrange(1, 20)))

    def added(self):
        r, token = self.random, lambda: self.random.choice(ADDED)["content"]
        return "".join(r.choice((token(), token(), token() + " " + token(), " ", " ", "\u3000\t", "a", "_", "9", ".", "é", "\u0323", "한",
                                 "<", "<b", "ab", "٠", "\u200d", "中")) for _ in range(r.randrange(1, 12)))

    def passage(self):
        if not self.real:
            return self.words()
        line = self.random.choice(self.real)
        return line if self.random.random() < 0.8 else line + " " + self.random.choice(self.real)

    def next(self):
        kinds = ((self.passage, 30), (self.block, 20), (self.words, 12), (self.mixed, 8), (self.marked, 10), (self.oddities, 8),
                 (self.long_word, 3), (self.specials, 5), (self.hangul, 4))
        return self.random.choices([k for k, _ in kinds], [w for _, w in kinds])[0]()


def real_texts():
    """Message catalogues (the translations in them) and documentation of this machine, as lines."""
    lines = []
    for path in sorted(pathlib.Path("/usr/share/locale").glob("*/LC_MESSAGES/*.mo")):
        data = path.read_bytes()
        if data[:4] != b"\xde\x12\x04\x95":
            continue
        count, _, table = struct.unpack_from("<3I", data, 8)
        for i in range(count):
            length, at = struct.unpack_from("<2I", data, table + 8 * i)
            try:
                lines += [line for line in data[at:at + length].decode("utf-8").split("\n") if line]
            except UnicodeDecodeError:
                pass
    for path in sorted(pathlib.Path("/usr/share/doc").rglob("*")):
        if path.is_file() and path.suffix in (".gz", ".txt", ".md", "") and path.stat().st_size < 4 << 20:
            try:
                data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                lines += [line for line in data.decode("utf-8").split("\n") if line.strip()]
            except (UnicodeDecodeError, OSError, EOFError):
                pass
    return lines


def encode_all(tokenizer, texts):
    """For each text: ids, starts, ends, with offsets in bytes."""
    for text, encoding in zip(texts, tokenizer.encode_batch(texts)):
        offsets = encoding.offsets
        if not text.isascii():
            byte = [0]
            for c in text:
                byte.append(byte[-1] + len(c.encode()))
            offsets = [(byte[start], byte[end]) for start, end in offsets]
        yield encoding.ids, [start for start, _ in offsets], [end for _, end in offsets]


def chain(value, result):
    """FNV-1a over 32-bit words: the count, ids, starts and ends."""
    ids, starts, ends = result
    for word in (len(ids), *ids, *starts, *ends):
        value = ((value ^ word) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def expected(texts):
    """Two 64-bit hashes a text: BERT uncased, and the other settings one after the other."""
    first, others = [], [0xCBF29CE484222325] * len(texts)
    for settings in SETTINGS:
        results = encode_all(Tokenizer.from_str(tokenizer_json(settings)), texts)
        if settings == SETTINGS[0]:
            first = [chain(0xCBF29CE484222325, result) for result in results]
        else:
            others = [chain(value, result) for value, result in zip(others, results)]
    return b"".join(struct.pack("<QQ", *pair) for pair in zip(first, others))


def readable(texts, added):
    tokenizer = Tokenizer.from_str(tokenizer_json(SETTINGS[0], added))
    rows = [{"text": text, "ids": ids, "offsets": [list(pair) for pair in zip(starts, ends)]}
            for text, (ids, starts, ends) in zip(texts, encode_all(tokenizer, texts))]
    return "".join(json.dumps(row) + "\n" for row in rows)


def fixtures(texts):
    strings = Strings(SEED + 1)
    return {"expected.bin": expected(texts), "readable.jsonl": readable(texts[:READABLE], ()).encode(),
            "added_tokens.json": json.dumps(ADDED, indent=1).encode() + b"\n",
            "added.jsonl": readable([strings.added() for _ in range(READABLE)], ADDED).encode()}


def make():
    strings = Strings(SEED)
    texts = [strings.next()[:112].replace("\0", "") for _ in range(COUNT)]  # our reader of JSON refuses U+0000
    (FIXTURES / "strings.txt").write_text("".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts),
                                          encoding="utf-8")
    for name, data in fixtures(texts).items():
        (FIXTURES / name).write_bytes(data)


def check():
    texts = [json.loads(line) for line in (FIXTURES / "strings.txt").read_text(encoding="utf-8").split("\n")[:-1]]
    wrong = [name for name, data in fixtures(texts).items() if (FIXTURES / name).read_bytes() != data]
    print(f"{len(texts)} strings, " + ("differs: " + ", ".join(wrong) if wrong else "all as committed"))
    return 1 if wrong else 0


def ours(tool, mode, path, texts):
    data = subprocess.run([tool, mode, path], input=b"".join(t.encode() + b"\xff\xff" for t in texts), stdout=subprocess.PIPE,
                          check=True).stdout
    at = 0
    for _ in texts:
        count, = struct.unpack_from("<I", data, at)
        numbers = struct.unpack_from(f"<{3 * count}I", data, at + 4)
        at += 4 + 12 * count
        yield list(numbers[:count]), list(numbers[count:2 * count]), list(numbers[2 * count:])


def million(tool, count=1000000, seed=1):
    """Half with the settings of BERT uncased, the rest with each of the others in turn, one chunk with odd added tokens."""
    strings, done, wrong, size = Strings(int(seed), real_texts()), 0, 0, 0
    scratch = pathlib.Path(tool).resolve().parent / "tokenizer_golden.json"
    turns = [setting for other in SETTINGS[1:] for setting in (SETTINGS[0], other)] + ["added"]
    for turn in range(10 ** 9):
        if done >= int(count):
            break
        setting = turns[turn % len(turns)]
        source = tokenizer_json(SETTINGS[0], ADDED) if setting == "added" else tokenizer_json(setting)
        scratch.write_text(source, encoding="utf-8")
        texts = [strings.added() if setting == "added" else strings.next() for _ in range(min(20000, int(count) - done))]
        package = encode_all(Tokenizer.from_str(source), texts)
        for text, left, right in zip(texts, package, ours(tool, "json", str(scratch), texts)):
            if tuple(left) != tuple(right):
                wrong += 1
                if wrong <= 20:
                    print(f"{setting}: {ascii(text)}\n  package {left}\n  ours    {right}")
        done += len(texts)
        size += sum(len(text.encode()) for text in texts)
        print(f"{done} strings, {size / 1e6:.1f} MB, {wrong} differ", file=sys.stderr, flush=True)
    scratch.unlink()
    print(f"{done} strings, {size / 1e6:.1f} MB, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    commands = {"make": make, "check": check, "million": million}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))
