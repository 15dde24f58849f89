"""Lets torch's CUDA build be imported without CUDA's libraries, which weigh three gigabytes and would never be called.

torch is linked against them, so the loader wants every one of them to exist and to define the symbols that torch names. This
script reads those names out of torch's own libraries and compiles, beside them, one small stand-in a library in which every
function answers with error 100 ("no device"), and those that explain errors with a sentence. torch then finds no GPU, which is
what a reference on the CPU wants.
It is run by scripts/venv after an install; it needs gcc and nm, and does nothing where torch already imports.

    python torch_without_cuda.py
"""
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile

SYSTEM_VERSIONS = re.compile(r"^(GLIBC|GLIBCXX|CXXABI|GCC|GOMP|OMP|QUADMATH)_")
CUDA_NAME = re.compile(r"^(nccl|cuFile|cusparseLt|nvshmem)")  # names without a version that belong to CUDA
EXPLAINS = re.compile(r"(String|ErrorName|ncclGetLastError)$")  # these answer with a sentence, not with a number
LIBRARY_OF_VERSION = {"NVSHMEM": "libnvshmem_host.so.3"}
# Libraries that torch asks for although none of their symbols has a version; the first one takes all such symbols.
UNVERSIONED = ["libnccl.so.2", "libcufile.so.0", "libcusparseLt.so.0"]


def undefined_symbols(folder):
    """The (name, version) pairs that torch's libraries expect from elsewhere."""
    found = set()
    for library in sorted(folder.glob("*.so*")):
        listing = subprocess.run(["nm", "-D", "--undefined-only", "--with-symbol-versions", str(library)],
                                 capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            name, _, version = line.split()[-1].partition("@")
            found.add((name, version.strip("@")))
    return found


def by_library(symbols):
    """{library: (version, [names])} for everything that CUDA would define."""
    libraries = {name: ("", []) for name in UNVERSIONED}
    for name, version in sorted(symbols):
        if not version and CUDA_NAME.match(name):
            libraries[UNVERSIONED[0]][1].append(name)
        elif version and not SYSTEM_VERSIONS.match(version):
            library = LIBRARY_OF_VERSION.get(version, version)
            libraries.setdefault(library, (version, []))[1].append(name)
    return libraries


def body(name):
    if EXPLAINS.search(name):
        return f'const char *{name}(void) {{ return "CUDA is not installed"; }}\n'
    return f"int {name}(void) {{ return 100; }}\n"


def compile_stand_in(folder, library, version, names):
    with tempfile.TemporaryDirectory() as scratch:
        source, script = pathlib.Path(scratch, "stand_in.c"), pathlib.Path(scratch, "versions")
        source.write_text("".join(map(body, names)) or "extern int none;\n")
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", f"-Wl,-soname,{library}", "-o", str(folder / library), str(source)]
        if version:
            script.write_text(f"{version} {{ global: *; }};\n")
            command.append(f"-Wl,--version-script={script}")
        subprocess.run(command, check=True)


def torch_imports():
    return subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode == 0


def main():
    spec = importlib.util.find_spec("torch")
    if spec is None or torch_imports():
        return
    folder = pathlib.Path(spec.origin).parent / "lib"
    for library, (version, names) in by_library(undefined_symbols(folder)).items():
        compile_stand_in(folder, library, version, names)
    if not torch_imports():
        sys.exit("torch does not import, even with stand-ins for CUDA's libraries")


if __name__ == "__main__":
    main()
