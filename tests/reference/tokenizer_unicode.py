#!/usr/bin/env python3
"""Writes loaders/tokenizer_unicode.c: what BERT's normaliser and pre-tokeniser do with each code point.

The facts are asked of the PyPI package `tokenizers` itself, because the Unicode versions behind its parts differ from
each other (lower case, marks, punctuation and decomposition come from different tables), so that no single edition of the
Unicode database gives its answers.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3
    venv/bin/python tests/reference/tokenizer_unicode.py > loaders/tokenizer_unicode.c
"""
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

CONTROL, SPACE, PUNCTUATION, CHINESE, MARK, WORD, HANGUL = (1 << bit for bit in range(7))
PAGE = 128
LIMIT = 0x110000
HANGUL_SYLLABLES = range(0xAC00, 0xAC00 + 11172)
CODE_POINTS = [c for c in range(LIMIT) if not 0xD800 <= c <= 0xDFFF]


def normaliser(**chosen):
    settings = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    settings.update(chosen)
    return normalizers.BertNormalizer(**settings).normalize_str


def single_word_probe():
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "Q": 1}, unk_token="?"))
    tokenizer.add_tokens([AddedToken("Q", single_word=True, normalized=False)])
    return lambda c: 1 not in tokenizer.encode(c + "Q").ids


def combining_class_probe():
    """The package tells its combining classes only by the order in which it puts two marks."""
    decompose = normalizers.NFD().normalize_str
    swaps = lambda pair: decompose(pair) != pair
    is_mark = lambda c: swaps(c + "\u0334") or swaps("\u0345" + c)  # the lowest class and the highest
    marks = {}
    for c in map(chr, CODE_POINTS):
        if unicodedata.combining(c) and decompose(c) == c and is_mark(c):
            marks.setdefault(unicodedata.combining(c), c)

    def probe(c):
        if not is_mark(c):
            return 0
        return next(k for k, mark in marks.items() if not swaps(mark + c) and not swaps(c + mark))
    return probe


def gather():
    clean, chinese = normaliser(clean_text=True), normaliser(handle_chinese_chars=True)
    strip, lower = normaliser(strip_accents=True), normaliser(lowercase=True)
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    decompose, combining, word = normalizers.NFD().normalize_str, combining_class_probe(), single_word_probe()
    facts = {}
    for code in CODE_POINTS:
        c = chr(code)
        decomposed, pieces, flags = decompose(c), len(split("a" + c + "b")), 0
        flags |= CONTROL if clean("a" + c + "b") == "ab" else 0
        flags |= SPACE if pieces == 2 else 0
        flags |= PUNCTUATION if pieces == 3 else 0
        flags |= CHINESE if chinese(c) != c else 0
        flags |= MARK if decomposed == c and strip("a" + c + "b") == "ab" else 0
        flags |= WORD if word(c) else 0
        order = combining(c) if decomposed == c else 0
        if code in HANGUL_SYLLABLES:
            flags, decomposed = flags | HANGUL, c
        facts[code] = (flags, order, "" if decomposed == c else decomposed, "" if lower(c) == c else lower(c))
    return facts


def numbers(values, width=118):
    lines, line = [], "   "
    for value in values:
        if len(line) + len(str(value)) + 2 > width:
            lines.append(line)
            line = "   "
        line += f" {value},"
    return "\n".join(lines + [line])


def main():
    facts = gather()
    nothing = (0, 0, "", "")
    records, characters = {nothing: 0}, [0]

    def sequence(text):
        if not text:
            return 0
        characters.extend([len(text)] + [ord(c) for c in text])
        return len(characters) - len(text) - 1

    pages, index = {}, []
    for first in range(0, LIMIT, PAGE):
        page = tuple(records.setdefault(facts.get(c, nothing), len(records)) for c in range(first, first + PAGE))
        index.append(pages.setdefault(page, len(pages)))
    rows = [f"    {{{flags}, {order}, {sequence(nfd)}, {sequence(low)}}}," for flags, order, nfd, low in records]
    print(f"""/* Generated: venv/bin/python tests/reference/tokenizer_unicode.py > loaders/tokenizer_unicode.c
 * (tokenizers {tokenizers.__version__}). Facts about code points as that package sees them; see tokenizer_unicode.h. */
#include "loaders/tokenizer_unicode.h"

const uint16_t tokenizer_unicode_page[{len(index)}] = {{
{numbers(index)}
}};

const uint16_t tokenizer_unicode_record[{len(pages)}][{PAGE}] = {{""")
    for page in pages:
        print("{\n" + numbers(page) + "\n},")
    print(f"""}};

const size_t tokenizer_unicode_fact_count = {len(records)};
const struct tokenizer_unicode_fact tokenizer_unicode_fact[{len(records)}] = {{
{chr(10).join(rows)}
}};

const uint32_t tokenizer_unicode_characters[{len(characters)}] = {{
{numbers(characters)}
}};""")
    print(f"{len(pages)} pages, {len(records)} records, {len(characters)} characters", file=sys.stderr)


if __name__ == "__main__":
    main()
