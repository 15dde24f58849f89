"""`make bench`: recto and its peers, interleaved in one run on one machine, with all-MiniLM-L6-v2.

Every engine is a child process under one protocol (profiling/peers/engine.py); the children are measured in turn, round after
round, so that a neighbour on the machine disturbs all of them alike; medians are reported. Peers get what suits them best: the
best of several batch sizes and of one or two batches in flight. Writes build/bench/results.json (one object a row) and
results.svg; --keep puts dated copies into profiling/results.

    scripts/venv peers && build/venv-peers/bin/python profiling/bench.py [--rounds N] [--works A,B] [--threads 1,2] [--keep]
"""
import argparse
import datetime
import json
import os
import pathlib
import random
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/reference"))
import folders  # noqa: E402
import plot  # noqa: E402
import texts as text_maker  # noqa: E402

BENCH = ROOT / "build/bench"
PREPARED = BENCH / "peers"
PRECISIONS = ("fp32", "bf16", "int8")
PEERS = {
    "fp32": ["onnxruntime", "onnxruntime-plain", "openvino", "ctranslate2", "torch"],
    "bf16": ["openvino-bf16", "torch-bf16"],
    "int8": ["onnxruntime-int8", "openvino-int8", "openvino-int8-bf16", "ctranslate2-int8"],
}
# work: (file of ids or texts, command, peers' variants with 1 thread, with more threads)
WORKS = {
    "one16": ("one16.ids", "one 101", [""], [""]),
    "one128": ("one128.ids", "one 25", [""], [""]),
    "bulk128": ("bulk128.ids", "bulk 1", ["1", "8", "32"], ["1", "8", "32", "1 2", "8 2"]),
    "mixed": ("mixed.jsonl", "mixed 1", ["sorted"], ["sorted", "sorted 2"]),
    "mixed-arrival": ("mixed.jsonl", "mixed 1", ["arrival"], ["arrival"]),
}
KEPT_VARIANTS = 2         # after the first round only an engine's best ones are run on
PAUSE_SECONDS = 0.3       # lets the threads of the engine before fall asleep: some spin for 200 ms
SLOWEST_ANSWER_SECONDS = 600
QUIET_PROCESSORS = 0.2    # more than this in other programs' hands, and a row is marked as disturbed
# (work, precision): ratio to reach against the best peer of the same precision, or of the one named
GOALS_AVX512 = {("bulk128", "fp32"): 1.2, ("bulk128", "int8"): 1.6, ("mixed", "fp32"): 1.2, ("mixed", "int8"): 1.6,
                ("bulk128", "bf16"): 1.15, ("mixed", "bf16"): 1.15}
GOALS_AVX2 = {("bulk128", "fp32"): 1.25, ("bulk128", "int8"): 1.5, ("mixed", "fp32"): 1.25, ("mixed", "int8"): 1.5}
GOALS_ALL = {("one16", precision): 1.5 for precision in PRECISIONS} | {("mixed-arrival", precision): 4.0 for precision in PRECISIONS}
BF16_AGAINST_FP32 = 2.3


# ---- the machine ----

def cpu_flags():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


def missing_for(precision, flags):
    """Why a precision cannot be measured on this CPU, or None."""
    if precision == "bf16" and "avx512_bf16" not in flags:
        return "this CPU has no AVX-512 BF16"
    return None


def busy_seconds(pid=None):
    """Processor time used so far by everybody, or by one process."""
    ticks = os.sysconf("SC_CLK_TCK")
    if pid is None:
        fields = open("/proc/stat", encoding="utf-8").readline().split()[1:]
        return (sum(map(int, fields[:3])) + sum(map(int, fields[5:8]))) / ticks
    fields = open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / ticks


def machine(threads):
    """What `recto doctor` says of this machine; ceilings in 10^9 operations a second by precision and number of threads."""
    said = json.loads(subprocess.run([str(ROOT / "build/recto"), "doctor", "--json", "--threads", str(max(threads))],
                                     capture_output=True, text=True, check=True).stdout)
    rates = {"fp32": said["ceilings"]["fp32_gflops"], "bf16": said["ceilings"]["bf16_gflops"], "int8": said["ceilings"]["int8_gops"]}
    named = [name for key, name in (("avx2", "AVX2"), ("avx512", "AVX-512"), ("avx512bf16", "BF16"), ("avx512vnni", "VNNI")) if said[key]]
    return {"cpu": said["cpu"], "class": " ".join(named),
            "ceilings": {name: {"1": one, str(max(threads)): all_} for name, (one, all_) in rates.items()}}


# ---- the work ----

def write_ids(path, lists):
    numbers = [len(lists), *map(len, lists)] + [token for tokens in lists for token in tokens]
    numpy.array(numbers, numpy.int32).tofile(path)


def random_ids(rng, length):
    return [101] + [rng.randrange(1997, 29000) for _ in range(length - 2)] + [102]


def mixed_texts(model, count):
    """English of log-normal length: median 40 tokens, 256 at most, in random order."""
    rng = random.Random(40)
    tokenizer = folders.tokenizer(model)
    for _ in range(count):
        length = max(4, min(256, round(rng.lognormvariate(numpy.log(40), 1.1))))
        text = text_maker.sentence(rng)
        while len(tokenizer.encode(text).ids) < length:
            text += " " + text_maker.sentence(rng)
        while len(tokenizer.encode(text).ids) > length:
            text = text.rsplit(" ", 1)[0]
        yield text


def make_work(model):
    """Writes the files of WORKS; returns the token counts of each."""
    rng = random.Random(7)
    lists = {"one16.ids": [random_ids(rng, 16)], "one128.ids": [random_ids(rng, 128)], "bulk128.ids": [random_ids(rng, 128) for _ in range(32)]}
    for name, ids in lists.items():
        write_ids(BENCH / name, ids)
    if not (BENCH / "mixed.jsonl").exists():
        lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in mixed_texts(model, 1000)]
        (BENCH / "mixed.jsonl").write_text("".join(lines), encoding="utf-8")
    tokenizer = folders.tokenizer(model)
    texts = [json.loads(line)["text"] for line in open(BENCH / "mixed.jsonl", encoding="utf-8")]
    lists["mixed.jsonl"] = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    return {name: [len(ids) for ids in listed] for name, listed in lists.items()}


def operations_per_text(model, lengths):
    """Floating point operations of a text, two a multiply-add: the linear layers and the attention, padding not counted."""
    config = json.loads((model / "config.json").read_text())
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    linear = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return sum(layers * (tokens * linear + 4 * tokens * tokens * hidden) for tokens in lengths) / len(lengths)


# ---- engines ----

class Failed(Exception):
    pass


class Child:
    """An engine in a process of its own, bound to the first `threads` cores."""

    def __init__(self, name, precision, command, threads):
        cores = sorted(os.sched_getaffinity(0))[:threads]
        self.name, self.precision, self.loaded = name, precision, None
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="true",
                           HF_HUB_OFFLINE="1")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores))

    def read(self):
        if not select.select([self.process.stdout], [], [], SLOWEST_ANSWER_SECONDS)[0]:
            raise Failed(f"no answer in {SLOWEST_ANSWER_SECONDS} seconds")
        line = self.process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError:
            raise Failed(f"ended with status {self.process.wait(10)}" if not line else f"answered {line.strip()!r}") from None
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed("has ended") from None
        return self.read()

    def load(self, file):
        if self.loaded != file:
            self.ask(f"{'texts' if file.suffix == '.jsonl' else 'ids'} {file}")
            self.loaded = file

    def close(self):
        self.process.kill()
        self.process.wait()


def recto_command(options, precision, threads):
    return [str(options.build / "recto-bench"), "serve", "--model", str(options.model), "--precision", precision, "--threads", str(threads)]


def peer_command(options, name, threads):
    return [sys.executable, str(ROOT / "profiling/peers/engine.py"), name, "--model", str(options.model), "--prepared", str(PREPARED),
            "--threads", str(threads)]


def start_engines(options, threads, flags, skipped):
    """Children that are ready; the others are noted in skipped[(name, precision)]."""
    children = []
    for precision in PRECISIONS:
        reason = missing_for(precision, flags)
        commands = {"recto": recto_command(options, precision, threads)} | {name: peer_command(options, name, threads) for name in PEERS[precision]
                                                                                 if name in options.peers}
        for name, command in commands.items():
            if reason or (name == "recto" and not (options.build / "recto-bench").exists()):
                skipped[name, precision] = reason or f"{options.build / 'recto-bench'} does not exist"
                continue
            child = Child(name, precision, command, threads)
            try:
                if name != "recto":  # recto answers commands only
                    child.read()
                children.append(child)
            except Failed as failure:
                skipped[name, precision] = str(failure)
                child.close()
    return children


def say(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


class Neighbours:
    """Counts how many processors others keep busy between two moments: what a figure has to be read with."""

    def __init__(self, children):
        self.children, self.began = children, time.monotonic()
        self.busy = self.others()

    def others(self):
        return busy_seconds() - sum(busy_seconds(child.process.pid) for child in self.children if child.process.poll() is None)

    def processors(self):
        return round(max(0.0, self.others() - self.busy) / (time.monotonic() - self.began), 2)


def measure(work, children, rounds, threads, skipped):
    """Milliseconds a text: {(engine, precision): {variant: [one a round]}}."""
    file, command, alone, together = WORKS[work]
    times = {}
    for number in range(rounds):
        for child in children if number % 2 == 0 else children[::-1]:
            key = (child.name, child.precision)
            if key in skipped:
                continue
            listed = times.setdefault(key, {variant: [] for variant in ([""] if child.name == "recto" else alone if threads == 1 else together)})
            if number == 1 and len(listed) > KEPT_VARIANTS:
                best = sorted(listed, key=lambda variant: listed[variant][0])[:KEPT_VARIANTS]
                listed = times[key] = {variant: listed[variant] for variant in best}
            say(f"{work}, {threads} threads, round {number + 1} of {rounds}: {child.name} {child.precision}")
            try:
                child.load(BENCH / file)
                for variant in list(listed):
                    if number == 0 and not work.startswith("mixed"):
                        child.ask(f"{command} {variant}".strip())  # warm-up
                    try:
                        listed[variant].append(child.ask(f"{command} {variant}".strip())["ms_per_text"])
                    except Failed:
                        if child.name == "recto" or variant == (alone if threads == 1 else together)[0]:
                            raise
                        del listed[variant]  # an engine without this variant
                    time.sleep(PAUSE_SECONDS)
            except Failed as failure:
                skipped[key] = str(failure)
                times.pop(key)
    say("")
    return times


# ---- rows ----

def medians(times):
    """{(engine, precision): (milliseconds, variant)} of each engine's best variant."""
    return {key: min((statistics.median(values), variant) for variant, values in variants.items()) for key, variants in times.items()}


def goal_of(work, precision, threads, machine_class):
    if threads < 2 and work != "one16":
        return None
    goals = GOALS_AVX512 if "BF16" in machine_class and "VNNI" in machine_class else GOALS_AVX2
    return (goals | GOALS_ALL).get((work, precision))


def rows_of(work, threads, times, operations, measured, skipped):
    rows, found = [], medians(times)
    for precision in PRECISIONS:
        peers = {name: round(found[name, precision][0], 4) for name in PEERS[precision] if (name, precision) in found}
        recto = found.get(("recto", precision), (None, ""))[0]
        best = min(peers, key=peers.get) if peers else None
        fp32 = min((found[name, "fp32"][0] for name in PEERS["fp32"] if (name, "fp32") in found), default=None)
        ceiling = measured["ceilings"].get(precision, {}).get(str(threads))
        fraction = lambda ms: round(operations / (ms * 1e6) / ceiling, 3) if ms and ceiling else None
        rows.append({
            "work": work, "precision": precision, "threads": threads, "recto_ms": recto and round(recto, 4), "peers": peers, "best_peer": best,
            "ratio": round(peers[best] / recto, 3) if recto and best else None, "ratio_to_fp32_peer": round(fp32 / recto, 3) if recto and fp32 else None,
            "fraction_of_ceiling": fraction(recto), "best_peer_fraction_of_ceiling": fraction(best and peers[best]),
            "goal": goal_of(work, precision, threads, measured["class"]),
            "goal_to_fp32_peer": BF16_AGAINST_FP32 if precision == "bf16" and threads > 1 and work in ("bulk128", "mixed") else None,
            "cpu": measured["cpu"], "instructions": measured["class"],
            "variants": {name: found[name, precision][1] for name in peers},
            "rounds": {f"{name} {variant}".strip(): [round(ms, 4) for ms in values] for (name, kind), variants in times.items() if kind == precision
                       for variant, values in variants.items()},
            "best_round_ms": {name: round(min(map(min, variants.values())), 4) for (name, kind), variants in times.items() if kind == precision},
            "skipped": {name: reason for (name, kind), reason in skipped.items() if kind == precision},
        })
    return rows


def line_of(row):
    def ms(value):
        return f"{value:9.3f}" if value is not None else "        -"
    best = row["best_peer"]
    columns = [f"{row['work']:<14}{row['precision']:<6}{row['threads']:>2}", ms(row["recto_ms"]), ms(best and row["peers"][best]), f"{best or '-':<19}",
               f"{row['ratio']:5.2f}" if row["ratio"] else "    -", f"{row['ratio_to_fp32_peer']:5.2f}" if row["ratio_to_fp32_peer"] else "    -",
               f"{row['goal']:5.2f}" if row["goal"] else "    -"]
    columns += [f"{100 * part:4.0f} %" if part else "     -" for part in (row["fraction_of_ceiling"], row["best_peer_fraction_of_ceiling"])]
    if row["recto_ms"] is None:
        columns.append("not run: " + row["skipped"].get("recto", "no answer"))
    return "  ".join(columns)


HEAD = "work          prec   T   recto ms    peer ms  best peer            ratio  /fp32   goal  of peak  (peer)"


# ---- cold start ----

def cold_commands(options, flags):
    text = "The old bridge is closed until spring."
    commands = {(name, precision): peer_command(options, name, 2) + ["--cold", text] for precision in PRECISIONS if not missing_for(precision, flags)
                for name in PEERS[precision] if name in options.peers}
    if (options.build / "recto").exists():
        for precision in PRECISIONS:
            if not missing_for(precision, flags):
                commands["recto", precision] = [str(options.build / "recto"), "embed", "--model", str(options.model), "--precision", precision, "--threads", "2"]
    return commands, text


def launch(command, text, cache):
    with tempfile.TemporaryFile("w+") as given:
        given.write(text + "\n")
        given.seek(0)
        done = subprocess.run(["python3", "-S", "-E", str(ROOT / "profiling/launch.py"), *command], stdin=given, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, env=dict(os.environ, HF_HUB_OFFLINE="1", **cache), check=False)
    return json.loads(done.stdout or '{"error": "did not start"}')


def cold_rows(options, measured, flags, rounds):
    """Process start to the first vector with files in the page cache, and the peak of the resident set."""
    commands, text = cold_commands(options, flags)
    found = {key: [] for key in commands}
    first = {}
    with tempfile.TemporaryDirectory() as cache:
        own_cache = {"XDG_CACHE_HOME": cache}
        for number in range(rounds + 1):
            for key, command in commands.items():
                say(f"cold start, round {number} of {rounds}: {key[0]} {key[1]}")
                answer = launch(command, text, own_cache if key[0] == "recto" else {})
                if "error" not in answer and number:
                    found[key].append(answer)
                elif "error" not in answer and key[0] == "recto":
                    first[key[1]] = round(answer["first_ms"], 1)
    say("")
    middle = lambda answers, field: round(statistics.median(answer[field] for answer in answers), 1)
    rows = []
    for precision in PRECISIONS:
        times = {name: middle(answers, "first_ms") for (name, kind), answers in found.items() if kind == precision and answers}
        memory = {name: middle(answers, "peak_rss_mb") for (name, kind), answers in found.items() if kind == precision and answers}
        recto = times.pop("recto", None)
        best = min(times, key=times.get) if times else None
        reason = missing_for(precision, flags) or (None if recto else f"{options.build / 'recto'} does not exist or failed")
        rows.append({"work": "cold start", "precision": precision, "threads": 2, "recto_ms": recto, "recto_first_time_ms": first.get(precision),
                     "peers": times, "best_peer": best, "ratio": round(times[best] / recto, 2) if recto and best else None,
                     "ratio_to_fp32_peer": None, "fraction_of_ceiling": None, "best_peer_fraction_of_ceiling": None, "goal": None,
                     "peak_rss_mb": memory, "cpu": measured["cpu"], "instructions": measured["class"],
                     "skipped": {"recto": reason} if reason else {}})
    return rows


def check_accuracy(children, skipped):
    """1 - cosine on 100 of the golden texts: a peer that computes something else is no peer."""
    golden, sample = folders.FIXTURES / "embed/minilm_fp32.npy", BENCH / "check.jsonl"
    with open(folders.FIXTURES / "embed/texts.jsonl", encoding="utf-8") as lines:
        sample.write_text("".join(line for _, line in zip(range(100), lines)), encoding="utf-8")
    accuracy = {}
    for child in children:
        try:
            child.load(sample)
            accuracy[f"{child.name} {child.precision}"] = child.ask(f"check {golden}")
        except Failed as failure:
            if child.name != "recto":
                skipped[child.name, child.precision] = f"could not be checked: {failure}"
    return accuracy


def prepare(options):
    """The peers' own files, made anew when the weights or the list of peers change."""
    stamp = PREPARED / "made-from"
    wanted = folders.sha256(options.model / "model.safetensors") + folders.sha256(ROOT / "profiling/peers/requirements.txt") + \
        folders.sha256(ROOT / "profiling/peers/prepare.py")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(PREPARED, ignore_errors=True)
    print("preparing the peers' models (about a minute; the log is build/bench/prepare.log)", file=sys.stderr)
    with open(BENCH / "prepare.log", "w", encoding="utf-8") as log:
        subprocess.run([sys.executable, str(ROOT / "profiling/peers/prepare.py"), str(options.model), str(PREPARED)], stdout=log, stderr=log, check=True)
    stamp.write_text(wanted)


def write_results(results, keep):
    (BENCH / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    plot.draw(results, BENCH / "results.svg")
    if keep:
        kept = ROOT / "profiling/results"
        kept.mkdir(exist_ok=True)
        for kind in ("json", "svg"):
            shutil.copy(BENCH / f"results.{kind}", kept / f"{datetime.date.today()}-cpu.{kind}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=folders.minilm(), help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="where recto and recto-bench are")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--works", default=",".join([*WORKS, "cold"]))
    parser.add_argument("--peers", default=",".join(name for names in PEERS.values() for name in names))
    parser.add_argument("--keep", action="store_true", help="put dated copies into profiling/results")
    options = parser.parse_args()
    options.works, options.peers = options.works.split(","), options.peers.split(",")
    options.threads = [int(count) for count in options.threads.split(",")]
    return options


def rounds_of(work, options):
    """The mixed corpora take long: fewer rounds, and one for what peers need up to a minute for."""
    return {"mixed": min(options.rounds, 3), "mixed-arrival": 1}.get(work, options.rounds)


def run_works(options, measured, flags, lengths, results):
    accuracy = {}
    for threads in sorted(options.threads, reverse=True):
        works = [work for work in WORKS if work in options.works and (threads == max(options.threads) or not work.startswith("mixed"))]
        skipped = {}
        children = start_engines(options, threads, flags, skipped)
        accuracy = accuracy or check_accuracy(children, skipped)
        for work in works:
            neighbours = Neighbours(children)
            times = measure(work, children, rounds_of(work, options), threads, skipped)
            disturbed = neighbours.processors()
            operations = operations_per_text(options.model, lengths[WORKS[work][0]])
            for row in rows_of(work, threads, times, operations, measured, skipped):
                row["one_minus_cosine"] = {key: value for key, value in accuracy.items() if key.endswith(row["precision"])}
                row["processors_used_by_others"] = disturbed
                results.append(row)
                print(line_of(row), flush=True)
            if disturbed > QUIET_PROCESSORS:
                print(f"    {work}: others kept {disturbed} processors busy meanwhile; these figures do not count")
            write_results(results, False)
        for child in children:
            child.close()


def main():
    options = parse()
    BENCH.mkdir(parents=True, exist_ok=True)
    prepare(options)
    lengths, flags, measured = make_work(options.model), cpu_flags(), machine(options.threads)
    print(f"{measured['cpu']}, {measured['class']}; ceilings {measured['ceilings']} 10^9 operations a second; load {os.getloadavg()[0]:.1f}\n{HEAD}")
    results = []
    run_works(options, measured, flags, lengths, results)
    if "cold" in options.works:
        for row in cold_rows(options, measured, flags, min(options.rounds, 3)):
            results.append(row)
            print(line_of(row), f"  peak MB {row['peak_rss_mb']}")
    write_results(results, options.keep)
    print(f"written: {BENCH / 'results.json'} and results.svg")


if __name__ == "__main__":
    main()
