#!/usr/bin/env python3
"""attention_variants.py SOURCE FOLDER: kernels/attention/attention_sm90.cu with one thing changed in each of FOLDER/NAME.cu, for
heads of 64 in bf16 alone. What a change saves says what the kernel waits for: bench_variants times them. Fails where a line that is
to be changed is not in the source any more. --list: the names."""
import pathlib
import sys

EXP2 = "exp2_approximate(fmaf(s[i], scale, -base[r]))"
# exp2 of x <= 0 by multiply-adds: 2^n by the exponent's bits, 2^f for |f| <= 1/2 by a polynomial within 6e-5, below bf16's rounding
POLYNOMIAL = """
DEVICE float exp2_polynomial(float x)
{
    const float shifted = fmaxf(x, -126.0f) + 12582912.0f, f = fmaxf(x, -126.0f) - (shifted - 12582912.0f);
    const float p = fmaf(fmaf(fmaf(fmaf(0.00961813f, f, 0.05550411f), f, 0.24022651f), f, 0.69314718f), f, 1.0f);
    return __int_as_float(__float_as_int(p) + (__float_as_int(shifted) << 23));
}
"""


def polynomial(share):
    return [("/* Running state of the lane's two rows. */", POLYNOMIAL + "\n/* Running state of the lane's two rows. */"),
            (EXP2, f"(i / 2 % 8 < {share} ? exp2_polynomial(fmaf(s[i], scale, -base[r])) : {EXP2})")]


# name: (text, text instead) in order; results are right in the first three and in the polynomials
VARIANTS = {
    "unchanged": [],
    "two_warpgroups": [("{ return head <= 64 ? 3 : 2; }", "{ return 2; }")],
    # right for lengths that are whole tiles of all warpgroups, where no warpgroup passes a tile on unused
    "no_turns": [(f"named_barrier_{kind}<{number}, 256>()", "(void)0") for kind in ("sync", "arrive") for number in (1, 2, 3)],
    "polynomial_1_of_8": polynomial(1),
    "polynomial_2_of_8": polynomial(2),
    "multiply_for_exp2": [(EXP2, "fmaf(s[i], scale, -base[r]) * 0.5f")],
    "no_values": [("        wgmma_rs<T, 1>(y, weights[step], values + step * large_box(HEAD) * 2, 1);",
                   "        y[step] += __uint_as_float(weights[step][0] ^ weights[step][1] ^ weights[step][2] "
                   "^ weights[step][3]);")],
}
ALONE = [("bf16 ? large_handle<__nv_bfloat16>(choice->head) : large_handle<__half>(choice->head)",
          "KERNEL_HANDLE(attention_wgmma<__nv_bfloat16, 64>)")]


def whole(path):
    """The source with the headers that are its own in their places, and what else it includes before them."""
    others, text = [], ""
    for name in ("attention_large.cuh", "attention_large_consume.cuh", "attention_large_produce.cuh", path.name):
        for line in (path.parent / name).read_text(encoding="utf-8").splitlines(keepends=True):
            if not line.startswith("#include"):
                text += line
            elif "attention_large" not in line and line not in others:
                others.append(line)
    others.sort(key=lambda line: "launch.h" not in line)  # which comes first in every file of kernels
    return "".join(others), text


def changed(includes, source, name):
    """Without the launchers that choose, and all names apart: the linker would take one variant's function for another's."""
    text = source[:source.index("template <class T> static const void *large_handle")] + \
        source[source.index('extern "C" cudaError_t attention_sm90_launch'):source.index("static cudaError_t attention_narrow")]
    for old, new in VARIANTS[name] + ALONE:
        if old not in text:
            sys.exit(f"{name}: the source has no more: {old}")
        text = text.replace(old, new)
    return f"{includes}\nnamespace {name} {{\n{text.replace('attention_sm90_launch', f'attention_{name}_launch')}}}\n"


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(VARIANTS))
        return
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    (includes, source), folder = whole(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name in VARIANTS:
        (folder / f"{name}.cu").write_text(changed(includes, source, name), encoding="utf-8")


if __name__ == "__main__":
    main()
