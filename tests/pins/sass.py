"""What a kernel's instructions say: its hot loop, what is in it, and the pipe that bounds it.

A warp scheduler issues one instruction a clock; the pipes behind it take more for some. The clocks are those of one warp on its
quarter of a multiprocessor; a wgmma holds the whole multiprocessor's matrix units, all four quarters at once.
"""
import re
from collections import Counter
from dataclasses import dataclass, field

MATRIX = ("HMMA", "HGMMA", "QGMMA", "IMMA", "IGMMA")
FP32 = ("FADD", "FMUL", "FFMA")
# What the half-rate pipe for integers, comparisons and conversions takes.
ALU = ("F2FP", "FMNMX", "FSEL", "FSETP", "IADD3", "ISETP", "LEA", "LOP3", "MOV", "PLOP3", "PRMT", "SEL", "SHF", "VIADD", "VIMNMX")
# Instructions of which every one is meant: a change of their number is a change of the kernel.
COUNTED = MATRIX + ("MUFU", "LDSM", "STSM", "LDGSTS", "BAR", "WARPGROUP", "UTMALDG", "UTMASTG", "SHFL", "ATOM", "RED")


@dataclass(frozen=True)
class Instruction:
    address: int
    opcode: str
    text: str

    @property
    def name(self):
        return self.opcode.split(".")[0]

    @property
    def target(self):
        """The address that a branch goes to, else None."""
        match = re.search(r"\b0x([0-9a-f]+)\)?$", self.text) if self.name == "BRA" else None
        return int(match.group(1), 16) if match else None


def parse(line):
    """An instruction of cuobjdump -sass, or None for other lines."""
    match = re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?(\S+)(.*?)\s*;", line)
    return Instruction(int(match.group(1), 16), match.group(2), match.group(2) + match.group(3)) if match else None


def matrix_clocks(instruction, target):
    shape = re.search(r"64x(\d+)x", instruction.opcode)
    if shape:
        return int(shape.group(1)) // 2
    if instruction.name not in MATRIX:
        return 0
    full = 4 if target >= 90 else 8
    return full // 2 if "1688" in instruction.opcode else full


def loops(code):
    """(first, last) of every loop that does not leave the kernel."""
    index = {instruction.address: i for i, instruction in enumerate(code)}
    for last, instruction in enumerate(code):
        first = index.get(instruction.target)
        if first is not None and first < last and not any(i.name == "EXIT" for i in code[first:last]):
            yield first, last


def hot_loop(code, target):
    """The innermost loop with the most matrix work, the shortest of equals (edge tiles have more to do around the same work);
    without matrix work one that is mostly fused multiply-adds, or else the longest innermost loop; without loops the whole
    kernel."""
    def work(loop):
        return sum(matrix_clocks(i, target) for i in code[loop[0]:loop[1] + 1])

    def mostly_products(loop):
        body = code[loop[0]:loop[1] + 1]
        return 2 * sum(i.name == "FFMA" for i in body) > len(body)

    found = list(loops(code))
    with_work = [loop for loop in found if work(loop)]
    candidates = with_work or [loop for loop in found if mostly_products(loop)] or found
    innermost = [a for a in candidates
                 if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in candidates)]
    if not innermost:
        return code
    first, last = max(innermost, key=lambda loop: (work(loop), (loop[0] - loop[1]) * (1 if with_work else -1)))
    return code[first:last + 1]


def registers_wanted(code):
    """(lowered, raised): what setmaxnreg leaves a producer and gives a consumer; None where a kernel has none."""
    found = {}
    for instruction in code:
        if match := re.match(r"USETMAXREG\.(\w+)\S* .*?0x([0-9a-f]+)$", instruction.text):
            found[match.group(1)] = int(match.group(2), 16)
    return found.get("DEALLOC"), found.get("TRY_ALLOC")


@dataclass
class Loop:
    slots: int
    matrix: int
    mufu: int
    alu: int
    fp32: int
    local: int
    uniform_moves: int
    counts: dict = field(default_factory=dict)

    @property
    def bound(self):
        """The pipe that takes the most clocks, and how many."""
        pipes = {"issue": self.slots, "matrix": self.matrix, "mufu": self.mufu, "alu": self.alu, "fp32": self.fp32}
        return max(pipes.items(), key=lambda pipe: pipe[1])


def describe(code, target):
    loop = hot_loop(code, target)
    names = Counter(i.name for i in loop)
    return Loop(
        slots=len(loop),
        matrix=sum(matrix_clocks(i, target) for i in loop),
        mufu=8 * names["MUFU"],
        alu=2 * sum(names[name] for name in ALU),
        fp32=sum(names[name] for name in FP32) * (2 if target == 80 else 1) + 2 * names["IMAD"],
        local=sum(names[name] for name in ("LDL", "STL")),
        uniform_moves=names["R2UR"],
        counts=dict(sorted(Counter(i.opcode for i in loop if i.name in COUNTED).items())))
