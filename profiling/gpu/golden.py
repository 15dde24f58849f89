#!/usr/bin/env python3
"""golden.py NAME GPU.npy EMULATOR.npy COSINE: how far the vectors of a GPU are from those of the emulator. Both add up the same
products, the matrix units in an order of their own, so they are near and not equal; exits 1 where the cosine is less."""
import ast
import math
import struct
import sys


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


def main():
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
