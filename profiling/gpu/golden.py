#!/usr/bin/env python3
"""golden.py NAME GPU.npy EMULATOR.npy COSINE: how far the vectors of a GPU are from those of the emulator. Both add up the same
products, the matrix units in an order of their own, so they are near and not equal; exits 1 where the cosine is less.

golden.py --digests GPU EMULATOR: the same for what the cases of kernels computed (kernels_cuda_tests --digests). Kernels without
matrix units and approximations have to give the same bits; exits 1 where they do not."""
import ast
import math
import struct
import sys

SAME_BITS = ("embed_", "rotary_", "pool_", "convert_", "quantize_", "norm_", "normalize_")


def read(path):
    """The rows of a .npy file of little-endian fp32."""
    with open(path, "rb") as file:
        data = file.read()
    length, = struct.unpack_from("<H", data, 8)
    header = ast.literal_eval(data[10:10 + length].decode())
    if data[:6] != b"\x93NUMPY" or header["descr"] != "<f4" or header["fortran_order"]:
        sys.exit(f"{path}: expected rows of fp32")
    rows, width = header["shape"]
    values = struct.unpack_from(f"<{rows * width}f", data, 10 + length)
    return [values[i * width:(i + 1) * width] for i in range(rows)]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def read_digests(path):
    with open(path, encoding="utf-8") as lines:
        return dict(line.split()[1:] for line in lines if line.startswith("digest "))


def compare_digests(found, expected):
    both = [name for name in found if name in expected]
    other = [name for name in both if found[name] != expected[name]]
    wrong = [name for name in other if name.startswith(SAME_BITS)]
    print(f"kernels: {len(both) - len(other)} groups of cases with the emulator's bits; others: {', '.join(other) or 'none'}")
    if wrong or not both:
        print(f"expected the same bits of: {', '.join(wrong) or 'at least one group'}")
    return 1 if wrong or not both else 0


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--digests":
        return compare_digests(read_digests(sys.argv[2]), read_digests(sys.argv[3]))
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    name, found, expected = sys.argv[1], read(sys.argv[2]), read(sys.argv[3])
    if len(found) != len(expected) or not found:
        sys.exit(f"{name}: {len(found)} vectors, expected {len(expected)}")
    worst = min(cosine(a, b) for a, b in zip(found, expected))
    largest = max(abs(x - y) for a, b in zip(found, expected) for x, y in zip(a, b))
    print(f"{name}: {len(found)} vectors, least cosine {worst:.6f}, largest difference {largest:.2e}")
    return 0 if worst >= float(sys.argv[4]) else 1  # a NaN is not near either


if __name__ == "__main__":
    sys.exit(main())
