"""What the compiler left behind: the cubins in an object file, and the assembler's words beside it (cmake/keep_log.sh)."""
import os
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field

import sass

# Of a multiprocessor: registers, threads, blocks, bytes of shared memory of which every block takes 1024 more, named barriers
# (before sm_90 there are as many as all blocks can name).
LIMITS = {80: (65536, 2048, 32, 167936, 512), 90: (65536, 2048, 32, 233472, 64)}


@dataclass
class Kernel:
    file: str
    target: str            # "sm_80"
    name: str              # "norm_rows_held<32>"
    registers: int = 0
    stack: int = 0
    spills: int = 0        # bytes
    barriers: int = 0
    shared: int = 0        # static bytes
    serialised: int = 0    # wgmma that wait for one another
    threads: int = 1024    # at most, as the kernel says itself
    code: list = field(default_factory=list)

    @property
    def architecture(self):
        return int(re.sub(r"\D", "", self.target))

    def register_shortage(self):
        """How many registers a thread, summed over warpgroups, are wanted beyond those of the launch: setmaxnreg would wait for
        them for ever. One warpgroup produces, the others consume."""
        lowered, raised = sass.registers_wanted(self.code)
        groups = self.threads // 128
        return max(0, (lowered or self.registers) + (groups - 1) * raised - groups * self.registers) if raised else 0

    def blocks(self, dynamic_shared=0):
        """How many blocks a multiprocessor holds."""
        registers, threads, blocks, shared, barriers = LIMITS.get(self.architecture, LIMITS[80])
        warps = -(-self.threads // 32)
        warp_registers = -(-self.registers * 32 // 256) * 256
        per_quarter = registers // 4 // max(warp_registers, 1)
        return min(blocks, threads // self.threads, per_quarter * 4 // (-(-warps // 4) * 4),
                   shared // (1024 + -(-(self.shared + dynamic_shared) // 128) * 128), barriers // max(self.barriers, 1))


def run(tool, *arguments):
    environment = dict(os.environ, PATH=os.path.dirname(tool) + os.pathsep + os.environ["PATH"])
    return subprocess.run([tool, *arguments], check=True, capture_output=True, text=True, env=environment).stdout


def short_names(mangled):
    """Names as the source has them, without types of results and arguments."""
    full = subprocess.run(["c++filt"], input="\n".join(mangled), check=True, capture_output=True, text=True).stdout.split("\n")
    return {m: re.sub(r"\(.*", "", re.sub(r"^void ", "", f).replace("(int)", "").replace("(bool)", "")).split("::")[-1]
            for m, f in zip(mangled, full)}


def read_log(path):
    """{(target, function): properties} and {function: number of serialised wgmma warnings}."""
    found, serialised = {}, defaultdict(int)
    current = {}
    with open(path, encoding="utf-8") as log:
        for line in log:
            # C7510 to C7518; C7519 only says that an instruction was put in front.
            if re.search(r"\(C751[0-8]\)", line):
                serialised[re.search(r"function '(\S+)'", line).group(1)] += 1
            elif match := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
                current = found.setdefault((match.group(2), match.group(1)), {})
            elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
                current.update(stack=int(match.group(1)), spills=int(match.group(2)) + int(match.group(3)))
            elif match := re.search(r"Used (\d+) registers, used (\d+) barriers", line):
                shared = re.search(r"(\d+) bytes smem", line)
                current.update(registers=int(match.group(1)), barriers=int(match.group(2)),
                               shared=int(shared.group(1)) if shared else 0)
    return found, serialised


def read_threads(cuobjdump, path):
    """{(target, function): threads of a block, at most}"""
    threads, target, function, wanted = {}, None, None, False
    for line in run(cuobjdump, "-elf", path).splitlines():
        if match := re.match(r"arch = (\S+)", line):
            target = match.group(1)
        elif match := re.match(r"\.nv\.info\.(\S+)$", line):
            function = match.group(1)
        elif "EIATTR_MAX_THREADS" in line:
            wanted = True
        elif wanted and (match := re.match(r"\s*Value:\s*(.*)", line)):
            x, y, z = (int(word, 16) for word in match.group(1).split())
            threads[target, function] = x * y * z
            wanted = False
    return threads


def read_code(cuobjdump, path):
    """{(target, function): instructions}"""
    code, target, current = {}, None, []
    for line in run(cuobjdump, "-sass", path).splitlines():
        if match := re.match(r"arch = (\S+)", line):
            target = match.group(1)
        elif match := re.match(r"\s*Function : (\S+)", line):
            current = code.setdefault((target, match.group(1)), [])
        elif instruction := sass.parse(line):
            current.append(instruction)
    return code


def read_object(cuobjdump, path, file):
    """The kernels of an object file, for every target that it holds machine code for."""
    properties, serialised = read_log(path + ".ptxas")
    threads = read_threads(cuobjdump, path)
    code = read_code(cuobjdump, path)
    names = short_names(sorted({function for _, function in code}))
    return [Kernel(file, target, names[function], serialised=serialised[function],
                   threads=threads.get((target, function), 1024), code=instructions, **properties[target, function])
            for (target, function), instructions in sorted(code.items())]


def contents(cuobjdump, path):
    """Kinds and targets of what an object file holds: [("ELF", "sm_80"), ("PTX", "sm_90")]"""
    return re.findall(r"^(ELF|PTX) file +\d+: \S+\.(sm_\w+)\.\w+$", run(cuobjdump, "-lelf", "-lptx", path), re.MULTILINE)
