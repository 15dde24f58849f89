#!/usr/bin/env python3
"""table.py FOUND INTO: what the parts of scripts/gpu left in the folder FOUND, as a table on standard output and as DATE-gpu.json
and DATE-gpu.svg in the folder INTO. Parts that were not run are named with the reason. Figures of the emulator are no results:
they are refused."""
import datetime
import json
import os
import statistics
import sys
from collections import defaultdict
from xml.sax.saxutils import escape

import goals

PARTS = ("build", "questions", "conformance", "cases", "golden", "sanitizer", "bench")
BAR, LABEL, SCALE = 18, 520, 360


def read_lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_states(found):
    """The state of every part that was begun."""
    states = {}
    for part in PARTS:
        if os.path.exists(f"{found}/{part}.state"):
            with open(f"{found}/{part}.state", encoding="utf-8") as file:
                state, seconds, why = file.read().rstrip("\n").split("\t")
            states[part] = {"state": state, "seconds": int(seconds), "why": why}
    return states


def read_text(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def with_peers(rows, peers):
    """Every row with all peers that did the same work."""
    for row in rows:
        for peer in peers:
            if "us" in peer and (peer["kernel"], peer["shape"]) == (row["kernel"], row["shape"]):
                row["peers"][peer["peer"]] = peer["us"]
        yield row


def first_launches(rows):
    """The median of each program's waits."""
    programs = defaultdict(list)
    for row in rows:
        programs[row["program"]].append(row)
    return [{"program": program, **{key: statistics.median(row[key] for row in found)
                                    for key in ("open_ms", "first_ms", "second_ms")}}
            for program, found in programs.items()]


def print_parts(parts):
    print(f"\n{'part':12} {'state':8} {'s':>4}")
    for part, state in parts.items():
        print(f"{part:12} {state['state']:8} {state['seconds']:4}  {state['why']}")


def print_questions(results):
    if results["first_launch"]:
        print(f"\n{'ms until':42} {'open':>8} {'first':>8} {'second':>8}")
        for row in results["first_launch"]:
            print(f"{row['program']:42} {row['open_ms']:8.1f} {row['first_ms']:8.3f} {row['second_ms']:8.3f}")
    if results["unanswered"]:
        print("\n" + results["unanswered"])


def print_rows(rows):
    if rows:
        print(f"\n{'kernel or model':44} {'shape':52} {'us':>10} {'GB/s':>7} {'TFLOP/s':>8} {'tokens/s':>9} {'limit':>12} "
              f"{'of it':>6}  ratio to")
    for row in rows:
        peers = ", ".join(f"{us / row['us']:.2f} {name}" for name, us in sorted(row["peers"].items(), key=lambda one: one[1]))
        tokens = f"{row['tokens_s']:9.0f}" if "tokens_s" in row else f"{'':9}"
        print(f"{row['kernel']:44} {row['shape']:52} {row['us']:10.1f} {row['gb_s']:7.0f} {row['tflop_s']:8.1f} {tokens} "
              f"{row['limit']:>12} {row['of_limit']:6.0%}  {peers}")


def print_measures(measures):
    if measures:
        print(f"\n{'measure':64} {'shape':24} {'value':>12}")
    for row in measures:
        print(f"{row['measure']:64} {row['shape']:24} {row['value']:12.3f} {row['unit']}")


def shown(value, form):
    return "" if value is None else format(value, form)


def print_goals(lines):
    print(f"\n{'goal':58} {'figure':>9} {'':16} {'wanted':>12} {'limit':>9} {'of it':>6} {'ratio':>6}  state")
    for line in lines:
        sign = ">=" if line["at_least"] else "<="
        wanted = f"{sign} " + ", ".join(f"{goal:g}" for goal in line["goal"]) if line["unit"] else ""
        print(f"{line['work']:58} {shown(line['figure'], '9.4g'):>9} {line['unit']:16} {wanted:>12} "
              f"{shown(line['limit'], '.4g'):>9} {shown(line['of_limit'], '.0%'):>6} {shown(line['ratio'], '.2f'):>6}"
              f"  {line['state']}" + (f" ({line['note']}{'; ' + line['peer'] if line['peer'] else ''})" if line["note"] else ""))


def draw(rows, title):
    """A bar a row: how much of its limit it reaches, with the peer's mark."""
    parts = [f'<text x="20" y="26" font-size="16" font-weight="bold">{escape(title)}</text>']
    for number, row in enumerate(rows):
        y = 44 + number * BAR
        parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(row["kernel"] + ": " + row["shape"])}</text>')
        parts.append(f'<rect x="{LABEL}" y="{y}" width="{SCALE * row["of_limit"]:.1f}" height="{BAR - 4}" fill="#c2410c"/>')
        peer = goals.best_peer(row)
        if peer:
            x = LABEL + SCALE * row["limit_us"] / peer[1]
            parts.append(f'<rect x="{x:.1f}" y="{y - 1}" width="3" height="{BAR - 2}" fill="#475569"/>')
        x = LABEL + SCALE * row["of_limit"] + 6
        parts.append(f'<text x="{x:.0f}" y="{y + 12}">{row["of_limit"]:.0%} of {row["limit"]}</text>')
    height = 60 + len(rows) * BAR
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + SCALE + 220}" height="{height}" font-family="sans-serif" '
            f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    found, into = sys.argv[1:]
    lines = [line for name in ("bench", "model") for line in read_lines(f"{found}/{name}.jsonl")]
    peers = read_lines(f"{found}/peers.jsonl")
    devices = [line for line in lines if "architecture" in line]
    if any("emulated" in line["device"] for line in lines):
        sys.exit("figures of the emulated device are no results: nothing was written")
    results = {
        "date": datetime.date.today().isoformat(),
        "device": devices[0] if devices else None,
        "machine": read_text(f"{found}/machine.txt"),
        "parts": read_states(found),
        "asked": [line for line in read_lines(f"{found}/asked.jsonl") if "kernel" in line],
        "first_launch": first_launches(read_lines(f"{found}/questions.jsonl")),
        "unanswered": read_text(f"{found}/unanswered.txt"),
        "kernels": list(with_peers([line for line in lines if "kernel" in line], peers)),
        "measures": [line for line in lines if "measure" in line],
        "peers": peers,
    }
    results["command"] = "scripts/gpu " + " ".join(results["parts"])
    results["goals"] = goals.judge(results)
    print_rows(results["kernels"])
    print_measures(results["measures"])
    print_rows(results["asked"])
    print_questions(results)
    print_parts(results["parts"])
    print_goals(results["goals"])
    path = f"{into}/{results['date']}-gpu"
    with open(path + ".json", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    if results["kernels"]:
        with open(path + ".svg", "w", encoding="utf-8") as file:
            file.write(draw(results["kernels"],
                            f"{results['device']['device']}: how much of its limit a kernel reaches; the mark is the best peer"))
    print(f"\nwritten: {path}.json" + (f" and {path}.svg" if results["kernels"] else ""))


if __name__ == "__main__":
    main()
