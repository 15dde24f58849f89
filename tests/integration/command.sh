#!/bin/sh
# The command as scripts and people use it: outputs, exit codes, sentences. RECTO_BUILD names the folder with recto in it.
# What needs no model runs anywhere; the rest needs all-minilm-l6-v2 in the cache and says so when it is not there.
# shellcheck disable=SC2015,SC2016  # A && B || die: die is the answer to either failing; $1 is the inner shell's
set -eu
cd -- "$(dirname -- "$0")/../.."
recto=$(cd -- "${RECTO_BUILD:-build}" && pwd)/recto
[ -x "$recto" ] || { echo "FAILED: there is no $recto; build it first" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"
unset RECTO_MEMORY RECTO_THREADS RECTO_INSTRUCTIONS RECTO_LOG
checks=0

die() { echo "FAILED: $*" >&2; for f in out err; do [ ! -f $f ] || head -c 600 $f | sed "s/^/    $f: /" >&2; done; exit 1; }
pass() { checks=$((checks + 1)); }

# run CODE COMMAND...: runs it with its output in the files out and err, and expects the exit code.
run() {
    wanted=$1
    shift
    code=0
    "$@" >out 2>err || code=$?
    [ "$code" = "$wanted" ] || die "exit code $code instead of $wanted: $*"
    pass
}
# refuse CODE SENTENCE ARGUMENT...: recto fails with the code, this beginning of its one sentence and nothing on standard output.
refuse() {
    wanted=$1
    sentence=$2
    shift 2
    run "$wanted" "$recto" "$@"
    [ "$(wc -l < err)" = 1 ] || die "expected one sentence: $*"
    case $(cat err) in "recto: $sentence"*) ;; *) die "expected 'recto: $sentence': $*" ;; esac
    [ ! -s out ] || die "something on standard output: $*"
}
has() { grep -q -- "$1" "$2" || die "no '$1' in $2"; pass; }
same() { difference=$(cmp -- "$1" "$2" 2>&1) || die "$difference"; pass; }
bytes() { wc -c < "$1"; }

# ---- Usage: no model needed ----

run 2 "$recto"
has 'Exit codes' err
run 0 "$recto" --version
grep -qx 'recto [0-9]*\.[0-9]*\.[0-9]*' out || die "--version"
run 0 "$recto" --help
has 'embed' out
RECTO_THREADS=3 run 0 "$recto" --options
for variable in RECTO_CACHE HF_HUB_CACHE RECTO_THREADS RECTO_MEMORY RECTO_INSTRUCTIONS RECTO_LOG; do has "^$variable " out; done
has 'set to 3' out
RECTO_THREADS=many refuse 2 "RECTO_THREADS is 'many'" --options
for command in embed search tokenize model plan doctor; do
    run 0 "$recto" $command --help
    has "^recto $command" out
    run 0 "$recto" help $command
    awk 'length($0) > 110 { exit 1 }' out || die "a long line in the help of $command"
done
refuse 2 "there is no command 'embde'; did you mean embed?" embde
refuse 2 "there is no command 'xyzzy'" xyzzy
refuse 2 "there is no option '--modle' before a command" --modle
refuse 2 "embed has no option '--modle'; did you mean --model?" embed --modle x
refuse 2 "embed has no option '--prec'; did you mean --precision?" embed --prec=fp32
refuse 2 "embed has no option '-x'" embed -x
refuse 2 "embed has no option '--thingumbob'; see recto embed --help" embed --thingumbob
refuse 2 "--model needs a value" embed --model
refuse 2 "--truncate takes no value" embed --truncate=yes
refuse 2 "--precision is 'fp23', expected auto, fp32, bf16, int8 or fp8" embed --precision fp23
refuse 2 "--device is 'gpu', expected auto, cpu or cuda" embed --device=gpu
refuse 2 "--format is 'xml', expected jsonl, npy or raw" embed --format xml
refuse 2 "--threads is '0', expected a number from 1 to 1024" embed --threads 0
refuse 2 "--threads is '2x'" embed --threads 2x
refuse 2 "--dimensions is '-1'" embed --dimensions -1
refuse 2 "--memory: '12x' is no size" embed --memory 12x
refuse 2 "--memory is 0 bytes" embed --memory 0
refuse 2 "search needs a word" search
refuse 2 "search needs --in FILE" search question
refuse 2 "search does not understand 'words'" search two words --in x
refuse 2 "model does not know 'show'" model show x
refuse 2 "model inspect needs a model's name" model inspect
refuse 2 "doctor does not understand 'who'" doctor who
refuse 2 "--sequences is 9, more than the 4 of --tokens" plan --tokens 4 --sequences 9
refuse 3 "/nowhere/at/all: there is no such folder" model inspect /nowhere/at/all
refuse 3 "/nowhere/at/all: there is no such folder" tokenize --model /nowhere/at/all
refuse 3 "" embed --model no-such-model
refuse 5 "device cuda: " embed --device cuda
refuse 4 "" embed --memory 1M
run 3 sh -c '"$1" --help > /dev/full' sh "$recto"
has 'standard output: cannot write it' err
run 0 "$recto" doctor
for word in processor kernels precision cache fp32 'memory read'; do has "^  $word" out; done
run 0 "$recto" doctor --json --threads 1
has '"ceilings":{"fp32_gflops":\[[0-9]' out

# ---- With the model ----

model=${RECTO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recto}/models/all-minilm-l6-v2
if [ ! -f "$model/model.safetensors" ]; then
    echo "command: $checks checks; the rest needs the model: weights/fetch all-minilm-l6-v2"
    exit 0
fi

# Tokens: lines of every kind, from files, standard input and both. 60 and 65535 cross what fits into one read.
printf 'Hello, world\r\n\ncaf\303\251 \344\270\255\nlast' > lines
cat > lines.tokens <<'END'
{"ids":[101,7592,1010,2088,102],"offsets":[[0,0],[0,5],[5,6],[7,12],[0,0]]}
{"ids":[101,102],"offsets":[[0,0],[0,0]]}
{"ids":[101,7668,1746,102],"offsets":[[0,0],[0,5],[6,9],[0,0]]}
{"ids":[101,2197,102],"offsets":[[0,0],[0,4],[0,0]]}
END
run 0 "$recto" tokenize lines
same out lines.tokens
run 0 "$recto" tokenize --model "$model" < lines
same out lines.tokens
run 0 sh -c '"$1" tokenize lines - lines < lines' sh "$recto"
cat lines.tokens lines.tokens lines.tokens > three
same out three
: > nothing
run 0 "$recto" tokenize nothing
same out nothing
run 0 "$recto" tokenize -- lines
same out lines.tokens
cat > lines.jsonl <<'END'
{"id":1,"text":"Hello, world","other":[1,{"text":2}]}
{"text":""}
{"text":"caf\u00e9 \u4e2d"}
{"text":"last"}
END
run 0 "$recto" tokenize --jsonl text lines.jsonl
same out lines.tokens
awk 'BEGIN { for (i = 0; i < 5000; i++) { for (j = 0; j < i % 97; j++) printf "word%d ", j; print "" } }' > many
run 0 "$recto" tokenize many
[ "$(wc -l < out)" = 5000 ] || die "not a line for each of 5000 texts"
mv out many.tokens
run 0 sh -c 'cat many | "$1" tokenize --output many.tokens.file' sh "$recto"
same many.tokens many.tokens.file
run 0 sh -c 'dd if=many bs=997 2>/dev/null | "$1" tokenize' sh "$recto"
same many.tokens out

# What cannot be a text: file, line and byte are named, and nothing is left behind.
printf 'good\nbad \377 byte\n' > invalid
printf 'good\n\nx\0y\n' > nul
for command in tokenize embed; do
    run 3 "$recto" $command invalid --output left
    has '^recto: invalid:2: .*not UTF-8.* 4$' err
    run 3 "$recto" $command --output=left nul
    has '^recto: nul:3: text has a NUL byte at byte 1$' err
    run 3 sh -c '"$1" "$2" < nul --output left' sh "$recto" $command
    has '^recto: standard input:3: ' err
    refuse 3 "missing: cannot open it: No such file" $command missing
    refuse 3 "$work: cannot read it: Is a directory" $command "$work"
    run 3 sh -c 'head -c 9000000 /dev/zero | tr "\0" a | "$1" "$2" lines - --output left' sh "$recto" $command
    has '^recto: standard input:1: the line is longer than 8 MiB$' err
    refuse 3 "lines.jsonl:1: field 'id' is an integer, expected a string" $command --jsonl id lines.jsonl --output left
    refuse 3 "lines.jsonl:1: there is no field 'id2'" $command --jsonl id2 lines.jsonl --output left
    refuse 3 "lines:1: not JSON: " $command --jsonl text lines --output left
    run 3 "$recto" $command lines --output no/such/folder/file
    run 3 sh -c '"$1" "$2" lines > /dev/full' sh "$recto" $command
    has '^recto: standard output: cannot write it: No space left' err
    refuse 3 "/dev/full: cannot write it: No space left" $command lines --output /dev/full
    [ -c /dev/full ] || die "/dev/full was replaced"
done
awk 'BEGIN { print "short"; for (i = 0; i < 300; i++) printf "word "; print "" }' > long
refuse 3 "long:2: " embed long --output left
has '302 tokens, the model takes 256' err
[ -z "$(find . -name '*left*')" ] || die "a failed run left a file"
run 0 "$recto" embed long --truncate --dimensions 2
has '^{"index":0,"tokens":3,"embedding":' out
has '^{"index":1,"tokens":256,"truncated":true,"embedding":' out
has 'note: 1 of 2 texts were cut to 256 tokens' err
run 0 "$recto" embed long --truncate --quiet --format raw
[ ! -s err ] || die "--quiet is not quiet"

# Vectors: one answer in each format, whatever the way in and out, the threads and the budget.
awk 'NR % 100 == 1' many > some
run 0 "$recto" embed some --format raw --stats --precision fp32
[ "$(bytes out)" = $((50 * 384 * 4)) ] || die "not 50 rows of 384 floats"
for field in texts tokens seconds load_seconds peak_bytes budget_bytes splits device precision; do has "\"$field\":" err; done
has '"texts":50,' err
has '"precision":"fp32"' err
mv out some.raw
run 0 sh -c 'cat some | "$1" embed --format raw --precision fp32 --threads 1 --memory 160M --output one.raw' sh "$recto"
same some.raw one.raw
run 0 "$recto" embed some --format npy --precision fp32 --output some.npy
[ ! -s out ] || die "--output writes to standard output, too"
run 0 "$recto" embed some --format npy --precision fp32
same out some.npy
run 0 sh -c '"$1" embed some --format npy --precision fp32 | cat' sh "$recto"
same out some.npy
tail -c +129 some.npy > body
same body some.raw
head -c 8 some.npy | od -An -tx1 | tr -d ' \n' | grep -qx '934e554d50590100' || die "the magic of an npy file"
head -c 128 some.npy | tail -c +11 | grep -q "^{'descr': '<f4', 'fortran_order': False, 'shape': (50, 384), } *$" || die "the header of an npy file"
run 0 "$recto" embed nothing --format npy
[ "$(bytes out)" = 128 ] || die "an npy file of no rows"
head -c 128 out | tail -c +11 | grep -q "(0, 384)" || die "the header of an empty npy file"
run 0 sh -c 'echo before > appended; "$1" embed some --format npy --precision fp32 >> appended' sh "$recto"
tail -c +8 appended > body
same body some.npy
run 0 sh -c '{ echo before; "$1" embed some --format npy --precision fp32; } > together' sh "$recto"
same appended together
run 0 "$recto" embed some --precision fp32
[ "$(wc -l < out)" = 50 ] || die "not a line for each of 50 texts"
awk -F '[][]' '{ n = split($2, a, ","); if (n != 384 || index($1, "{\"index\":" NR - 1 ",\"tokens\":") != 1) exit 1 }' out ||
    die "the lines of jsonl"
"$recto" embed some --precision fp32 --dimensions 100 --format raw | head -c 400 > body
[ "$(bytes body)" = 400 ] || die "--dimensions 100"
refuse 2 "precision fp8 needs a Hopper GPU (sm_90), device cpu computes with" embed some --device cpu --precision fp8
has "expected auto, fp32, bf16 or int8" err
refuse 2 "--dimensions is 385, the model's vectors have 384" embed some --dimensions 385
refuse 2 "the model has no prompts, 'query' was asked for" embed some --prompt query
refuse 4 "" embed some --memory 16M
for precision in auto bf16 int8; do
    run 0 "$recto" embed some --precision $precision --format raw
    [ "$(bytes out)" = $((50 * 384 * 4)) ] || die "rows of $precision"
done
echo kept > target
ln -s target link
chmod 640 target
run 0 "$recto" embed lines --format raw --output link
[ -L link ] && [ "$(bytes target)" = $((4 * 384 * 4)) ] || die "--output through a link"
case $(ls -l target) in -rw-r-----*) pass ;; *) die "--output changed the file's rights" ;; esac

# Streams: an answer comes as soon as its line is there; a reader that has seen enough ends all without a word.
mkfifo pipe
"$recto" embed --dimensions 1 < pipe > answers 2>err & process=$!
exec 3> pipe
echo first >&3
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do [ -s answers ] && break; sleep 1; done
[ "$(wc -l < answers)" = 1 ] || die "no answer before the end of the input"
kill -INT $process
(sleep 60 && kill -KILL $process) 2>/dev/null & watchdog=$!
code=0
wait $process || code=$?
exec 3>&-
kill $watchdog 2>/dev/null || true
[ "$code" = 130 ] || die "exit code $code instead of 130 after SIGINT"
grep -qx 'recto: interrupted' err || die "the sentence of an interruption"
[ "$(wc -l < answers)" = 1 ] || die "what was complete before the interruption"
pass
cat many many many many many many many many > all
"$recto" embed all --output interrupted 2>err & process=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do ls interrupted.* >/dev/null 2>&1 && break; sleep 1; done
kill -TERM $process
(sleep 60 && kill -KILL $process) 2>/dev/null & watchdog=$!
code=0
wait $process || code=$?
kill $watchdog 2>/dev/null || true
[ "$code" = 143 ] || die "exit code $code instead of 143 after SIGTERM"
[ -z "$(find . -name 'interrupted*')" ] || die "an interrupted run left a file"
pass
run 0 sh -c '"$1" tokenize all 2>pipe.err | head -n 1 | grep -c ids' sh "$recto"
[ ! -s pipe.err ] || die "a sentence after a closed pipe"

# Search, inspect, plan.
cat > garden <<'END'
Roses are pruned in late winter, above a bud that faces outwards.
The ship lost her mainmast in the storm.
A sourdough starter is fed with flour and water every day.
END
run 0 "$recto" search 'how to cut back a rose bush' --in garden --top 2
[ "$(wc -l < out)" = 2 ] || die "--top 2"
head -n 1 out | grep -q '^ 0\.[0-9]* *1  Roses are pruned' || die "the first hit"
run 0 env COLUMNS=40 "$recto" search 'bad weather at sea' --in garden --format text --top 1
awk 'length($0) > 42 { exit 1 }' out || die "a hit wider than the terminal"
has 'The ship' out
run 0 "$recto" search 'baking bread' --in garden --top 9 --format jsonl
[ "$(wc -l < out)" = 3 ] || die "fewer texts than --top"
head -n 1 out | grep -q '^{"rank":1,"score":0\.[0-9]*,"file":"garden","line":3,"text":"A sourdough' || die "the first hit as JSON"
printf 'one\r\n\r\ntwo \r' > endings
run 0 "$recto" search one --in endings --format jsonl
for line in '"line":1,"text":"one"}$' '"line":2,"text":""}$' '"line":3,"text":"two .u000d"}$'; do has "$line" out; done
refuse 3 "missing: cannot open it" search x --in missing
run 3 "$recto" search x --in invalid
has '^recto: invalid:2: ' err
run 0 "$recto" model inspect all-minilm-l6-v2
for line in 'network     BERT encoder, 6 layers, width 384, 12 heads of 32' 'vector      384 numbers, pooling mean, length one' \
    'tensors     103 of F32' 'file        config.json' 'not there   model.safetensors.index.json'; do has "^$line" out; done
run 0 "$recto" model inspect --json "$model"
has '"layers":6,"width":384,"heads":12,"inner":1536' out
run 0 "$recto" plan --tokens 100 --sequences 4 --svg arena.svg --precision fp32
has '^  *4 linear    layer 0 linear+add+norm .*\[tokens, 384\] F32 .* bias residual norm' out
has 'costs for 100 tokens of 4$' out
ratio=$(sed -n 's/^largest live set .*the layout is \([0-9.]*\) of it$/\1/p' out)
awk -v ratio="$ratio" 'BEGIN { exit !(ratio >= 1 && ratio <= 1.02) }' || die "the layout is '$ratio' of the largest live set"
[ "$(grep -c '<rect ' arena.svg)" = $((1 + $(grep -c '<title>' arena.svg))) ] || die "the boxes of the picture"
grep -q '</svg>$' arena.svg || die "the end of the picture"

echo "command: $checks checks"
