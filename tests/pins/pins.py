#!/usr/bin/env python3
"""What the compiler makes of the CUDA kernels, held against tests/pins/pins.tsv.

    pins.py check BUILD NVCC_VERSION    exit 1 where a kernel became worse, or is not in the table
    pins.py write BUILD NVCC_VERSION    writes the table anew; look at the difference before it is committed
    pins.py show  BUILD NVCC_VERSION    what the table says, and the mix of every hot loop

Registers, slots of the hot loop and clocks of its bounding pipe may rise by 3 %; counts of matrix, special-function, copy and
barrier instructions are exact; spilled bytes, accesses to local memory in the hot loop and named barriers may not rise, nor blocks
of a multiprocessor fall; wgmma that wait for one another, and setmaxnreg beyond the registers of the launch, are never allowed.
tests/pins/limits.tsv holds what a kernel has to reach whatever it was before. The table is of one compiler: another version is
only reported. Exit 77: a tool is missing.
"""
import csv
import glob
import os
import re
import subprocess
import sys

import objects
import sass

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = os.path.join(HERE, "pins.tsv")
KEYS = ("file", "target", "kernel")
RISING = ("registers", "slots", "clocks")
COUNTS = ("spills", "local", "barriers", "shared", "threads")
FIELDS = KEYS + ("registers", "spills", "local", "barriers", "shared", "threads", "blocks", "slots", "clocks", "bound", "counts")
TOLERANCE = 1.03


def find_cuobjdump():
    script = os.path.join(HERE, "..", "..", "scripts", "cuda_toolkit")
    path = subprocess.run([script, "--where", "disassembler"], check=True, capture_output=True, text=True).stdout.strip()
    if not path:
        print("skipped: no cuobjdump; scripts/cuda_toolkit disassembler gets it")
        sys.exit(77)
    return path


def compile_kernels(nvcc, name, path, *targets):
    """Compiles a file of this folder as the build does; the assembler's words lie beside the object file."""
    root = os.path.join(HERE, "..", "..")
    subprocess.run(["sh", f"{root}/cmake/keep_log.sh", nvcc, "-std=c++17", "-O3", "-fmad=false", f"-I{root}", "-Xptxas=-v",
                    *targets, "-c", f"{HERE}/{name}", "-o", path], check=True, capture_output=True, text=True)
    return path


def dynamic_shared(build):
    """{kernel: bytes that its launcher asks for}, as the launchers themselves say (launches.c)."""
    output = subprocess.run([f"{build}/tests/launches"], check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in output.splitlines()]
    names = objects.short_names(sorted({mangled for mangled, _ in rows}))
    asked = {}
    for mangled, size in rows:
        asked[names[mangled]] = max(int(size), asked.get(names[mangled], 0))
    return asked


def describe(kernel, dynamic):
    loop = sass.describe(kernel.code, kernel.architecture)
    bound, clocks = loop.bound
    return {
        "file": kernel.file, "target": kernel.target, "kernel": kernel.name,
        "registers": kernel.registers, "barriers": kernel.barriers, "shared": kernel.shared + dynamic, "threads": kernel.threads,
        "blocks": kernel.blocks(dynamic), "slots": loop.slots, "clocks": clocks, "bound": bound,
        "counts": " ".join(f"{name}={count}" for name, count in loop.counts.items()) or "-",
        "spills": kernel.spills + kernel.stack, "local": loop.local, "serialised": kernel.serialised,
        "uniform_moves": loop.uniform_moves, "register_shortage": kernel.register_shortage(),
    }, loop


def library_objects(build):
    """(path, file below the root of the project) of every object file of kernels."""
    for path in sorted(glob.glob(f"{build}/CMakeFiles/recto_kernels_cuda*.dir/**/*.cu.o", recursive=True)):
        yield path, re.sub(r".*?\.dir/(.*)\.o$", r"\1", path)


def measure(build):
    """[(row, loop)] of every kernel, and a sentence for each object that holds what it should not."""
    cuobjdump, dynamic = find_cuobjdump(), dynamic_shared(build)
    measured, wrong = [], []
    for path, file in library_objects(build):
        if not os.path.exists(path + ".ptxas"):
            sys.exit(f"{path}.ptxas is missing: remove the object and build again")
        if file.endswith("_sm90.cu") and objects.contents(cuobjdump, path) != [("ELF", "sm_90a")]:
            wrong.append(f"{file}: expected one cubin for sm_90a, found {objects.contents(cuobjdump, path)}")
        for kernel in objects.read_object(cuobjdump, path, file):
            measured.append(describe(kernel, dynamic.get(kernel.name, 0)))
            if kernel.name not in dynamic:
                wrong.append(f"{file}: launches.c calls no launcher that starts {kernel.name}")
    return measured, wrong


def read_table():
    with open(TABLE, encoding="utf-8") as table:
        version = re.search(r"nvcc (\S+)", table.readline()).group(1)
        rows = csv.DictReader((line for line in table if not line.startswith("#")), delimiter="\t")
        return version, {tuple(row[key] for key in KEYS): row for row in rows}


def write_table(rows, version):
    with open(TABLE, "w", encoding="utf-8") as table:
        table.write(f"# What nvcc {version} makes of the kernels; blocks are of a multiprocessor, slots and clocks of the hot "
                    f"loop.\n"
                    f"# Made by: python3 tests/pins/pins.py write build {version}\n")
        writer = csv.DictWriter(table, FIELDS, delimiter="\t", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_limits():
    """[(kernel, target, field, limit)]: patterns of names, and what the field may be at most."""
    with open(os.path.join(HERE, "limits.tsv"), encoding="utf-8") as table:
        return list(csv.reader((line for line in table if not line.startswith("#")), delimiter="\t"))


def beyond(rows, limits):
    """Which rows are beyond a limit, and which limits are of no kernel, one sentence each."""
    for pattern, target, name, limit in limits:
        meant = [row for row in rows if row["target"] == target and re.fullmatch(pattern, row["kernel"])]
        if not meant:
            yield f"limits.tsv: no kernel of {target} is called {pattern}"
        for row in meant:
            if row[name] != limit if name == "bound" else row[name] > int(limit):
                yield f"{target} {row['kernel']} {name}: {row[name]}, limit {limit}"


def compare(row, pinned):
    """What became worse than pinned, one sentence each."""
    if row["serialised"]:
        yield "serialised: its wgmma wait for one another"
    if row["register_shortage"]:
        yield f"register_shortage: setmaxnreg wants {row['register_shortage']} more than the launch has, and would wait for ever"
    if pinned is None:
        yield "is not in pins.tsv: look at `pins.py show`, then `pins.py write`"
        return
    for name in RISING:
        if row[name] > TOLERANCE * int(pinned[name]):
            yield f"{name}: {row[name]}, pinned {pinned[name]}"
    for name in COUNTS:
        if row[name] > int(pinned[name]):
            yield f"{name}: {row[name]}, pinned {pinned[name]}"
    if row["blocks"] < int(pinned["blocks"]):
        yield f"blocks: {row['blocks']}, pinned {pinned['blocks']}"
    if row["counts"] != pinned["counts"]:
        yield f"counts: {row['counts']}\n        pinned: {pinned['counts']}"


def check(measured, wrong, version):
    pinned_version, pinned = read_table()
    for row, _ in measured:
        key = tuple(row[name] for name in KEYS)
        wrong += [" ".join(key) + " " + words for words in compare(row, pinned.pop(key, None))]
    wrong += [" ".join(key) + " is in pins.tsv and not in the build" for key in pinned]
    wrong += beyond([row for row, _ in measured], read_limits())
    print("\n".join(wrong))
    print(f"{len(measured)} kernels, {len(wrong)} against their pins")
    if version != pinned_version:
        print(f"only reported: the pins are of nvcc {pinned_version}, this is {version}")
        return 0
    return 1 if wrong else 0


def show(measured):
    for row, loop in measured:
        print(f"{row['file']} {row['target']} {row['kernel']}\n    {row['registers']} registers, {row['blocks']} blocks of "
              f"{row['threads']} threads, {row['spills']} bytes spilled, {row['serialised']} serialised\n    hot loop: "
              f"{loop.slots} slots, matrix {loop.matrix}, mufu {loop.mufu}, alu {loop.alu}, fp32 {loop.fp32} clocks; "
              f"local {loop.local}, moves to uniform registers {loop.uniform_moves}; {row['counts']}")


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("check", "write", "show"):
        sys.exit(__doc__)
    command, build, version = sys.argv[1:]
    measured, wrong = measure(build)
    if command == "check":
        return check(measured, wrong, version)
    if command == "show":
        show(measured)
    else:
        write_table((row for row, _ in measured), version)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
