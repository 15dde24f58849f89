"""What an H200 has to show: each goal beside what was measured, its limit and the fastest peer of the same run."""
import re

SHORT = ("16", "32", "64", "128", "16 to 128")
ATTENTION = re.compile(r"\d+ sequences of ([\d to]+), (\d+) heads of (\d+), (\d+) of keys(, causal)?$")


def attention_rows(rows, size, wanted):
    """The rows of full attention with as many heads of keys as of queries, of that head size and such lengths."""
    for row in rows:
        shape = ATTENTION.match(row["shape"])
        if row["kernel"] == "attention" and shape and not shape[5] and shape[2] == shape[4] and int(shape[3]) == size \
                and wanted(shape[1]):
            yield row


def is_long(length):
    return length.isdigit() and int(length) >= 1024


def best_peer(row):
    """(name, microseconds), or None."""
    return min(row["peers"].items(), key=lambda peer: peer[1], default=None)


def result(work, goals, unit, figure=None, upward=True, note="", limit=None, peer=None, ratio=None):
    """One line of the table; figure None: nobody measured it."""
    reached = [figure is not None and (figure >= goal if upward else figure <= goal) for goal in goals]
    state = ("not run" if figure is None else "met" if all(reached) else
             f"{sum(reached)} of {len(goals)} met" if any(reached) else "not met")
    return {"work": work, "figure": figure, "unit": unit, "goal": goals, "at_least": upward, "state": state, "note": note,
            "limit": limit, "of_limit": figure and limit and (figure / limit if upward else limit / figure), "peer": peer,
            "ratio": ratio}


def of_row(work, goals, unit, row, figure, upward=True, note=""):
    """The figure of a row with its limit in the same unit, and its best peer."""
    if row is None:
        return result(work, goals, unit, upward=upward)
    peer = best_peer(row)
    limit = figure / row["of_limit"] if upward else figure * row["of_limit"]
    return result(work, goals, unit, figure, upward, note or row["shape"], limit, *(
        (peer[0], round(peer[1] / row["us"], 3)) if peer else (None, None)))


def slowest(rows, key):
    return min(rows, key=key, default=None)


def attention_rate(rows, size, goals):
    row = slowest(attention_rows(rows, size, is_long), lambda row: row["tflop_s"])
    return of_row(f"attention, heads of {size}, from 1024 tokens", goals, "TFLOP/s", row, row and row["tflop_s"])


def against(work, goal, pairs):
    """The worst ratio of (row, peer, microseconds of the peer)."""
    found = [(us / row["us"], row, peer) for row, peer, us in pairs]
    if not found:
        return result(work, [goal], "times")
    ratio, row, peer = min(found, key=lambda one: one[0])
    note = f"{sum(one[0] >= goal for one in found)} of {len(found)} shapes reach it; worst: {row['kernel']}, {row['shape']}"
    line = result(work, [goal], "times", round(ratio, 3), True, note, None, peer, round(ratio, 3))
    line["of_limit"] = row["of_limit"]
    return line


def attention_short(rows, size):
    pairs = [(row, *best_peer(row)) for row in attention_rows(rows, size, lambda length: length in SHORT) if row["peers"]]
    return against(f"attention, heads of {size}, packed texts of 16 to 128 tokens", 2.0, pairs)


def products(rows, peer, goal):
    pairs = [(row, peer, row["peers"][peer]) for row in rows if row["kernel"].startswith("linear ") and peer in row["peers"]]
    return against(f"linears beside {peer}", goal, pairs)


def model_row(rows, kernel, shape):
    return next((row for row in rows if row["kernel"] == kernel and re.search(shape, row["shape"])), None)


def measured(measures, work, pattern, goals, unit):
    """The largest of the measures that the pattern names."""
    found = [measure for measure in measures if re.search(pattern, measure["measure"])]
    if not found:
        return result(work, goals, unit, upward=False)
    worst = max(found, key=lambda measure: measure["value"])
    return result(work, goals, unit, worst["value"], False, f"{worst['measure']}, {worst['shape']}")


def clean(parts, part, work):
    state = parts.get(part, {"state": "not run", "why": "not asked for"})
    line = result(work, [1], "", {"passed": 1, "FAILED": 0}.get(state["state"]), True, state["why"])
    return line


def judge(results):
    """The lines of the table, from what table.py has read."""
    rows, measures = results["kernels"], results["measures"]
    bulk, one = model_row(rows, "BERT-base, bulk", "of 512 tokens"), model_row(rows, "BERT-base, one", "of 128 tokens")
    lines = [
        clean(results["parts"], "conformance", "every instruction as its twin in the emulator"),
        clean(results["parts"], "cases", "every kernel against double precision"),
        clean(results["parts"], "golden", "vectors of whole models as the emulator's"),
        clean(results["parts"], "sanitizer", "the cases under the sanitizer"),
        attention_rate(rows, 64, [480, 520]),
        attention_rate(rows, 128, [640]),
        attention_short(rows, 64),
        attention_short(rows, 32),
        products(rows, "cuBLASLt, epilogue apart", 1.0),
        products(rows, "cuBLASLt, product alone", 0.95),
        of_row("BERT-base in bf16, 512 tokens", [1.8, 2.6], "million tokens/s", bulk, bulk and bulk["tokens_s"] * 1e-6),
        of_row("BERT-base, one text of 128 tokens", [0.35], "ms", one, one and one["us"] * 1e-3, upward=False),
        measured(measures, "what the host takes to ask for a replay", "host asks, replay", [5], "us"),
        measured(measures, "graphs kept", "graphs kept$", [32], "graphs"),
        measured(measures, "what they are booked with", "graphs kept, booked", [64], "MiB"),
    ]
    for line in lines:
        if line["state"] == "not run" and not line["note"]:
            part = results["parts"].get("bench", {"why": "not asked for"})
            line["note"] = part["why"] or "the part bench left no such row"
    return lines
