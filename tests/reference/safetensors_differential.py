#!/usr/bin/env python3
"""Compares recto's safetensors reader with the PyPI package `safetensors` on many small mutated files.

    python3 -m venv venv && venv/bin/pip install safetensors==0.8.0
    venv/bin/python tests/reference/safetensors_differential.py TOOL [COUNT [SEED]]

TOOL is a build of tests/tools/safetensors_check.c. Nothing that recto accepts may be refused by the package, and where both
accept, names, dtypes, shapes and bytes must be equal. Recto may refuse more, for the reasons in STRICTER only: each such
file is counted under its reason, and any other reason is a failure.
"""
import collections
import json
import random
import struct
import subprocess
import sys

import safetensors

COUNT, SEED = 20000, 20260717
# bits of an element
DTYPES = {"F32": 32, "BF16": 16, "F16": 16, "F64": 64, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
          "U16": 16, "U8": 8, "BOOL": 8, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
          "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}
# Where recto is stricter on purpose: the format's text wants '{' first and spaces last, JSON that means one thing, and
# three fields; rank 8, 63-bit numbers and names without NUL are recto's own limits.
STRICTER = ["expected '{' as the header's first byte", "expected '}' as the header's last byte", "duplicate object key",
            "has a field", "__metadata__ is null", "dimensions, expected at most 8", "too big integer", "NUL byte in object",
            "is an array, expected an object with dtype",
            "expected no negative number"]  # the last: in a field that the package skips; elsewhere both refuse it
INTERESTING = [0, 1, 2, 3, 7, 8, 255, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
               -1, -0.0, 1.0, 0.5, 1e300, True, None, "1", [], [1], {}]
TEXTS = ["-0", "1e0", "1E2", "01", "+1", "0x1", "NaN", "Infinity", "1.", ".5", '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"',
         '"\\x"', '"\t"', "'a'", "tru", "nul", "[,]", "{,}", "//", "\ufeff", "\u00a0", "\x0b", "\u2028"]


def random_tensors(random_):
    """A valid file as (entries, data): entries is a list of pairs, so that keys may repeat later."""
    entries, at = [], 0
    for i in range(random_.randrange(5)):
        dtype = random_.choice(list(DTYPES))
        shape = [random_.choice([0, 1, 1, 2, 3, 4, 8]) for _ in range(random_.randrange(4))]
        bits = DTYPES[dtype]
        for dimension in shape:
            bits *= dimension
        if bits % 8:
            shape.append(4)
            bits *= 4
        name = random_.choice(["a", "b", "w.weight", "é", "\U0001f600", "", 'q"\\', "\n"]) + str(i)
        entries.append([name, [["dtype", dtype], ["shape", shape], ["data_offsets", [at, at + bits // 8]]]])
        at += bits // 8
    random_.shuffle(entries)
    if random_.random() < 0.3:
        entries.insert(random_.randrange(len(entries) + 1), ["__metadata__", [["format", "pt"]]])
    return entries, bytes(random_.randrange(256) for _ in range(at))


def is_object(value):
    return isinstance(value, list) and value and all(isinstance(v, list) and len(v) == 2 and isinstance(v[0], str) for v in value)


def encode(value):
    """JSON, where a list of pairs is an object."""
    if is_object(value):
        return "{" + ",".join(json.dumps(k) + ":" + encode(v) for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(encode(v) for v in value) + "]"
    return json.dumps(value)


def mutate_entries(random_, entries):
    entry = random_.choice(entries)
    fields = entry[1]
    if not is_object(fields):
        return
    kind = random_.randrange(9)
    field = random_.choice(fields)
    if kind == 0:
        field[1] = random_.choice(INTERESTING)
    elif kind == 1 and isinstance(field[1], list) and field[1]:
        field[1][random_.randrange(len(field[1]))] = random_.choice(INTERESTING)
    elif kind == 2 and isinstance(field[1], list) and field[1] and all(isinstance(v, int) for v in field[1]):
        field[1][random_.randrange(len(field[1]))] += random_.choice([-2, -1, 1, 2])
    elif kind == 3:
        fields.remove(field)
    elif kind == 4:
        fields.append([random_.choice(["dtype", "shape", "data_offsets", "more", "Dtype"]), random_.choice(INTERESTING)])
    elif kind == 5:
        field[0] = random_.choice(["dtype", "shape", "data_offsets", "Shape", ""])
    elif kind == 6:
        entries.append(json.loads(json.dumps(random_.choice(entries))))
    elif kind == 7:
        entry[1] = random_.choice(INTERESTING)
    else:
        entry[0] = random_.choice(["__metadata__", "a0", "\x00", "x" * 300])


def mutate_text(random_, text):
    at = random_.randrange(len(text) + 1)
    kind = random_.randrange(6)
    if kind == 0:
        return text[:at] + random_.choice(TEXTS) + text[at:]
    if kind == 1:
        return text[:at] + text[at + random_.randrange(1, 4):]
    if kind == 2:
        return text[:at] + random_.choice(' \n\t\r{}[]:,"\\-0123456789') + text[at:]
    if kind == 3:
        return random_.choice([" ", "\n", "   "]) + text
    if kind == 4:
        return text + random_.choice([" ", "     ", "\n", "\t", "\0", "{}", " \n"])
    numbers = [i for i, c in enumerate(text) if c.isdigit()]
    if not numbers:
        return text
    at = random_.choice(numbers)
    return text[:at] + random_.choice(TEXTS[:10] + ["-1", "18446744073709551615", "9223372036854775808"]) + text[at + 1:]


def make_file(random_):
    entries, data = random_tensors(random_)
    kind = random_.randrange(10)
    if kind < 4 and entries:
        for _ in range(random_.randrange(1, 3)):
            mutate_entries(random_, entries)
    text = encode(entries) if entries else "{}"
    if 4 <= kind < 7:
        for _ in range(random_.randrange(1, 3)):
            text = mutate_text(random_, text)
    header = bytearray(text.encode("utf-8", "surrogatepass"))
    length = len(header)
    if kind == 7 and header:
        for _ in range(random_.randrange(1, 3)):
            header[random_.randrange(length)] ^= 1 << random_.randrange(8)
    if kind == 8:
        length = random_.choice([length - 1, length + 1, 0, 2**63, 2**64 - 1, 2**64 - 8, 100000001, length]) % 2**64
        data = random_.choice([data, data[:-1], data + b"\0", data + b"{}"])
    return struct.pack("<Q", length) + bytes(header) + data


def recto(tool, files):
    text = b"".join(struct.pack("<I", len(file)) + file for file in files)
    lines = subprocess.run([tool], input=text, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8", "replace")
    lines = lines.split("\n")[:-1]
    assert len(lines) == len(files), f"{len(lines)} answers to {len(files)} files"
    return lines


def reference(file):
    try:
        return {name: (str(view["dtype"]), tuple(view["shape"]), bytes(view["data"])) for name, view in safetensors.deserialize(file)}
    except Exception as refusal:  # the package's own class, and others where its bindings convert
        return refusal


def tensors_of(line, file):
    tensors = {}
    for word in line.split(" ")[1:]:
        name, dtype, shape, offset, size = word.split(",")
        data = file[int(offset):int(offset) + int(size)]
        tensors[bytes.fromhex(name).decode()] = (dtype, tuple(int(d) for d in shape.split("x") if d), data)
    return tensors


def compare(line, file, counts):
    """None, or what is wrong."""
    expected = reference(file)
    if isinstance(expected, Exception):
        counts["both refuse" if line.startswith("refused") else "FAILED"] += 1
        return None if line.startswith("refused") else f"accepted, but the package refuses: {expected}"
    if line.startswith("accepted"):
        same = tensors_of(line, file) == expected
        counts["both accept" if same else "FAILED"] += 1
        return None if same else f"read differently: {tensors_of(line, file)} and {expected}"
    reason = next((part for part in STRICTER if part in line), None)
    counts[f"only recto refuses: {reason}" if reason else "FAILED"] += 1
    return None if reason else f"refused without a listed reason: {line}"


def main():
    tool = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else COUNT
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else SEED
    random_ = random.Random(seed)
    files = [make_file(random_) for _ in range(count)]
    counts, failures = collections.Counter(), 0
    for file, line in zip(files, recto(tool, files)):
        wrong = compare(line, file, counts)
        if wrong:
            failures += 1
            print(f"{wrong}\n    {file!r}")
    print(f"seed {seed}: {count} files")
    for reason, number in counts.most_common():
        print(f"{number:8} {reason}")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
