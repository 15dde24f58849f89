#!/bin/sh
# scripts/cuda_toolkit against small packages made here: pip takes them from a folder, so no network is needed.
set -eu
cd -- "$(dirname -- "$0")/../.."
export PATH=/usr/bin:/bin
unset CUDACXX CUDA_HOME CUDA_PATH
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
checks=0

die() { echo "FAILED: $*" >&2; sed 's/^/    /' "$work/err" >&2; exit 1; }
pass() { checks=$((checks + 1)); }
expect() {
    [ "$1" = "$2" ] || die "expected '$2', found '$1'"
    pass
}

# A compiler of two packages, whose nvcc is a script that says its version.
mkdir "$work/scripts" "$work/wheels"
cp scripts/cuda_toolkit "$work/scripts/"
python3 - "$work" > "$work/scripts/cuda_compiler.txt" <<'END'
import hashlib, pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
members = {"fake-nvcc": {"nvidia/cu13/bin/nvcc": "#!/bin/sh\necho fake release 7\n", "fake_nvcc-7.0.dist-info/licenses/License.txt": "terms\n"},
           "fake-cudart": {"nvidia/cu13/lib/libcudart_static.a": "!<arch>\n", "nvidia/cu13/include/cuda.h": "\n"}}
print("# two packages")
for package, files in members.items():
    stem = package.replace("-", "_") + "-7.0"
    path = work / "wheels" / (stem + "-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(stem + ".dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 7.0\n")
        archive.writestr(stem + ".dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(stem + ".dist-info/RECORD", "")
    print(f"{package}==7.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
END
export PIP_NO_INDEX=1 PIP_FIND_LINKS="$work/wheels" XDG_CACHE_HOME="$work/cache"
place=$work/cache/recto/cuda-compiler-7.0
toolkit() { "$work/scripts/cuda_toolkit" "$@" 2> "$work/err"; }
# What this machine has of its own would be taken first.
if [ -x /usr/local/cuda/bin/nvcc ] || command -v nvcc > /dev/null; then own='--into '$work/cache/recto; else own=; fi

# shellcheck disable=SC2086  # two words or none
{
    [ -n "$own" ] || expect "$(toolkit --where)" ''
    expect "$(toolkit $own compiler)" "$place/bin/nvcc"
    expect "$("$place/bin/nvcc" --version)" 'fake release 7'
    expect "$(ls "$place/lib64")" libcudart_static.a
    expect "$(cat "$place/License.txt")" terms
    expect "$(find "$work/cache/recto" -name '*.whl' | wc -l)" 0
    expect "$(PIP_FIND_LINKS=/nowhere toolkit $own)" "$place/bin/nvcc"
    expect "$(toolkit --where $own)" "$place/bin/nvcc"
}
# What $CUDACXX names comes first.
printf '#!/bin/sh\n' > "$work/mine"
chmod +x "$work/mine"
expect "$(CUDACXX=$work/mine toolkit --where)" "$work/mine"

# Another hash in the list: the folder is made anew, and a package that has another one is refused.
sed -i '/fake-nvcc/s/sha256:..../sha256:0000/' "$work/scripts/cuda_compiler.txt"
if toolkit --into "$work/cache/recto" > /dev/null; then die 'a package with another hash was taken'; fi
grep -q 'pip could not get the packages' "$work/err" || die 'no word about the hash'
[ ! -e "$place" ] || die 'an old folder was left under a new list'
pass
if toolkit --into /proc/nowhere > /dev/null; then die 'a folder that cannot be written was taken'; fi
grep -q 'cannot write to /proc/nowhere' "$work/err" || die 'no word about the folder'
pass
if toolkit assembler > /dev/null; then die 'an unknown kind was taken'; fi
pass
echo "$checks checks"
