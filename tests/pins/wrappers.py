#!/usr/bin/env python3
"""wrappers.py NVCC: that every wrapper of kernels/cuda/instructions.cuh becomes the instruction that it is named after.

The emulator never sees the assembly, so a swapped flag or a wrong shape in it would pass there. Exit 77: a tool is missing.
"""
import csv
import os
import re
import sys
import tempfile

import objects
import pins

ROOT = os.path.join(pins.HERE, "..", "..")


def wrapped_functions():
    """The names of the header's functions; those that a macro makes for each shape once."""
    with open(f"{ROOT}/kernels/cuda/instructions.cuh", encoding="utf-8") as header:
        return set(re.findall(r"\bDEVICE \w+(?: \w+)* \*?(\w+)\(", header.read()))


def read_table():
    with open(os.path.join(pins.HERE, "wrappers.tsv"), encoding="utf-8") as table:
        return list(csv.reader((line for line in table if not line.startswith("#")), delimiter="\t"))


def plain(text):
    """An instruction with registers of no number."""
    return re.sub(r"\b(UR|R)\d+\b", r"\1", text)


def check(code, table):
    """What is not as the table has it, one sentence each; `code` is {wrapper: instructions}."""
    unused = {row[0] for row in table}
    for name, instructions in code.items():
        texts = [plain(instruction.text) for instruction in instructions]
        row = next((row for row in table if re.fullmatch(row[0], name)), None)
        if row is None:
            yield f"{name} is not in wrappers.tsv; it is {texts}"
            continue
        unused.discard(row[0])
        for words in row[1:]:
            words = re.fullmatch(row[0], name).expand(words.replace("\\1", "\\g<1>"))
            found = any(words.lstrip("!") in text for text in texts)
            if found == words.startswith("!"):
                yield f"{name}: expected {words}, found {texts}"
    yield from (f"wrappers.tsv: no kernel is called {pattern}" for pattern in sorted(unused))


def compile_wrappers(cuobjdump, nvcc, folder):
    path = pins.compile_kernels(nvcc, "wrappers_sm90.cu", os.path.join(folder, "wrappers.o"),
                                "-gencode=arch=compute_90a,code=sm_90a")
    return {function.removeprefix("wrapper_"): instructions
            for (_, function), instructions in objects.read_code(cuobjdump, path).items()}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        code = compile_wrappers(pins.find_cuobjdump(), sys.argv[1], folder)
    wrong = list(check(code, read_table()))
    tested = {name.split("__")[0] for name in code}
    wrong += [f"{name} of instructions.cuh has no kernel in wrappers_sm90.cu" for name in sorted(wrapped_functions() - tested)]
    print("\n".join(wrong))
    print(f"{len(wrapped_functions())} wrappers, {len(code)} kernels, {len(wrong)} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
