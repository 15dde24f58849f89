"""What an H200 has to show: each goal beside what was measured, its limit and the fastest peer of the same run. A goal is met by
figures that were measured, of results that agree with the peers', and by nothing else: what was not run says NOT RUN."""
import re

SHORT = ("16", "32", "64", "128", "16 to 128")
FAMILIES = ("base", "large", "qwen")  # of linears
AGREE = {"linear": 0.02, "attention": 0.02, "": 0.06}  # the largest difference of results, by what a kernel's name begins with
ATTENTION = re.compile(r"\d+ sequences of ([\d to]+), (\d+) heads of (\d+), (\d+) of keys(, causal)?$")
MET, NOT_MET, NOT_RUN, DIFFERS = "met", "NOT MET", "NOT RUN", "RESULTS DIFFER"


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


def disagreeing(row):
    """Peers whose result is another than ours."""
    most = next(limit for name, limit in AGREE.items() if row["kernel"].startswith(name))
    return [peer for peer, far in row["differences"].items() if far is None or far > most]


def result(work, goals, unit, figure=None, upward=True, note="", limit=None, peer=None, ratio=None):
    """One line of the table; figure None: nobody measured it."""
    reached = [figure is not None and (figure >= goal if upward else figure <= goal) for goal in goals]
    state = (NOT_RUN if figure is None else MET if all(reached) else
             f"{sum(reached)} of {len(goals)} met" if any(reached) else NOT_MET)
    return {"work": work, "figure": figure, "unit": unit, "goal": goals, "at_least": upward, "state": state, "note": note,
            "limit": limit, "of_limit": figure and limit and (figure / limit if upward else limit / figure), "peer": peer,
            "ratio": ratio}


def doubted(line, rows):
    """The line, but for results that differ from a peer's; and with a word where no peer's was compared."""
    wrong = [(row, peer) for row in rows for peer in disagreeing(row)]
    if line["state"] != NOT_RUN and wrong:
        row, peer = wrong[0]
        line |= {"state": DIFFERS, "note": f"{row['kernel']}, {row['shape']}: not the result of {peer}"}
    elif line["state"] != NOT_RUN and not any(row["differences"] for row in rows):
        line["note"] += "; no peer's result was compared"
    return line


def of_row(work, goals, unit, row, figure, upward=True, note=""):
    """The figure of a row with its limit in the same unit, and its best peer."""
    if row is None:
        return result(work, goals, unit, upward=upward)
    peer = best_peer(row)
    limit = figure / row["of_limit"] if upward else figure * row["of_limit"]
    return doubted(result(work, goals, unit, figure, upward, note or row["shape"], limit, *(
        (peer[0], round(peer[1] / row["us"], 3)) if peer else (None, None))), [row])


def attention_rate(rows, size, goals):
    row = min(attention_rows(rows, size, is_long), key=lambda row: row["tflop_s"], default=None)
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
    return doubted(line, [row for _, row, _ in found])


def attention_short(rows, size):
    """Where any of the lengths has no peer there is no worst one."""
    found = list(attention_rows(rows, size, lambda length: length in SHORT))
    lengths = {ATTENTION.match(row["shape"])[1] for row in found if row["peers"]}
    line = against(f"attention, heads of {size}, packed texts of 16 to 128 tokens", 2.0,
                   [(row, *best_peer(row)) for row in found if row["peers"]])
    missing = [length for length in SHORT if length not in lengths]
    return incomplete(line, missing, "texts of {} tokens have no figure and peer")


def products(rows, work, wanted, peer, goal):
    pairs = [(row, peer, row["peers"][peer]) for row in rows
             if row["kernel"].startswith("linear ") and wanted(row["kernel"]) and peer in row["peers"]]
    missing = [family for family in FAMILIES if not any(f" {family} " in row["kernel"] for row, _, _ in pairs)]
    return incomplete(against(work, goal, pairs), missing, "linears of {} have no figure and peer")


def incomplete(line, missing, sentence):
    """Not run, where a part of what a goal is about was not."""
    if missing and line["state"] not in (NOT_RUN, DIFFERS):
        line |= {"state": NOT_RUN, "note": sentence.format(", ".join(missing)) + "; of the others: " + line["note"]}
    return line


def model_row(rows, kernel, shape):
    return next((row for row in rows if row["kernel"] == kernel and re.search(shape, row["shape"])), None)


def worst_measure(measures, pattern):
    """The largest of the measures that the pattern names, of BERT-base at least."""
    found = [measure for measure in measures if re.search(pattern, measure["measure"])]
    if not any(measure["measure"].startswith("BERT-base,") for measure in found):
        return None
    return max(found, key=lambda measure: measure["value"])


def measured(measures, work, pattern, goals, unit, limit=None):
    """limit: names a measure that is the least there can be."""
    worst, least = worst_measure(measures, pattern), limit and worst_measure(measures, limit)
    if not worst:
        return result(work, goals, unit, upward=False)
    peer = best_peer(worst) if worst.get("peers") else None
    return result(work, goals, unit, worst["value"], False, f"{worst['measure']}, {worst['shape']}", least and least["value"],
                  *((peer[0], round(peer[1] / worst["value"], 3)) if peer else (None, None)))


def graphs_taken(measures, goal):
    """What the driver takes for as many graphs as were kept, were all as large as the largest that was measured."""
    kept, each = worst_measure(measures, "graphs kept$"), worst_measure(measures, "device memory of a graph, measured")
    if not kept or not each:
        return result("what the driver takes for them", [goal], "MiB", upward=False)
    return result("what the driver takes for them", [goal], "MiB", kept["value"] * each["value"], False,
                  f"{kept['value']:.0f} graphs, {each['measure']}, {each['shape']}")


def clean(parts, part, work):
    state = parts.get(part, {"state": "not run", "why": "not asked for"})
    figure = {"passed": 1, "FAILED": 0, "cut short": 0}.get(state["state"])
    return result(work, [1], "", figure, True, state["why"])


def judge(results):
    """The lines of the table, from what table.py has read."""
    rows, measures, parts = results["kernels"], results["measures"], results["parts"]
    bulk, one = model_row(rows, "BERT-base, bulk", "of 512 tokens"), model_row(rows, "BERT-base, one", "of 128 tokens")
    is_plain = re.compile(", product alone$").search
    lines = [
        clean(parts, "conformance", "every instruction as its twin in the emulator"),
        clean(parts, "cases", "every kernel against double precision"),
        clean(parts, "golden", "vectors of whole models as the emulator's"),
        *(clean(parts, tool, f"the cases under {tool}") for tool in ("memcheck", "racecheck", "synccheck", "initcheck")),
        attention_rate(rows, 64, [480, 520]),
        attention_rate(rows, 128, [640]),
        *(attention_short(rows, size) for size in (64, 32, 128)),
        products(rows, "linears beside cuBLASLt with the same epilogue apart", lambda name: not is_plain(name),
                 "cuBLASLt, epilogue apart", 1.0),
        products(rows, "plain products beside cuBLASLt's", is_plain, "cuBLASLt, product alone", 0.95),
        of_row("BERT-base in bf16, 512 tokens", [1.8, 2.6], "million tokens/s", bulk, bulk and bulk["tokens_s"] * 1e-6),
        of_row("BERT-base, one text of 128 tokens", [0.35], "ms", one, one and one["us"] * 1e-3, upward=False),
        measured(measures, "what the host takes to ask for a replay", "host asks, replay$", [5], "us",
                 "host asks, replay of a graph of one node"),
        measured(measures, "graphs kept", "graphs kept$", [32], "graphs"),
        measured(measures, "what they are booked with", "graphs kept, booked", [64], "MiB"),
        graphs_taken(measures, 64),
    ]
    for line in lines:
        if line["state"] == NOT_RUN and not line["note"]:
            part = "models" if line["work"].startswith("BERT") or not line["at_least"] else "kernels"
            line["note"] = parts.get(part, {"why": "not asked for"})["why"] or f"the part {part} left no such row"
    return lines


def count(lines):
    """How many goals are in which state."""
    states = [line["state"] for line in lines]
    in_part = sum(state not in (MET, NOT_MET, NOT_RUN, DIFFERS) for state in states)
    return {MET: states.count(MET), "met in part": in_part, NOT_MET: states.count(NOT_MET), DIFFERS: states.count(DIFFERS),
            NOT_RUN: states.count(NOT_RUN)}
