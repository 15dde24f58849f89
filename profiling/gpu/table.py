#!/usr/bin/env python3
"""table.py FOUND INTO: what the parts of scripts/gpu left in the folder FOUND, as a table on standard output and as DATE-gpu.json
and DATE-gpu.svg in the folder INTO. Parts that were not run are named with the reason."""
import csv
import datetime
import json
import os
import statistics
import sys
from collections import defaultdict
from xml.sax.saxutils import escape

BAR, LABEL, SCALE = 18, 520, 360


def read_lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_states(path):
    """The last state of every part."""
    with open(path, encoding="utf-8") as table:
        return {part: {"state": state, "seconds": int(seconds), "why": why}
                for part, state, seconds, why in csv.reader(table, delimiter="\t")}


def with_peers(rows, peers):
    """Every row with the fastest peer of its shape, where one is faster than what the row already names."""
    fastest = {}
    for peer in peers:
        key = peer["kernel"], peer["shape"]
        if "us" in peer and peer["us"] < fastest.get(key, peer)["us"] or key not in fastest and "us" in peer:
            fastest[key] = peer
    for row in rows:
        peer = fastest.get((row["kernel"], row["shape"]))
        if peer and peer["us"] < row.get("peer_us", float("inf")):
            row = dict(row, peer=peer["peer"], peer_us=peer["us"], ratio=round(peer["us"] / row["us"], 3))
        yield row


def first_launches(rows):
    """The median of each program's waits."""
    programs = defaultdict(list)
    for row in rows:
        programs[row["program"]].append(row)
    return [{"program": program, **{key: statistics.median(row[key] for row in found)
                                    for key in ("open_ms", "first_ms", "second_ms")}}
            for program, found in programs.items()]


def print_tables(results):
    print(f"\n{'part':12} {'state':8} {'s':>4}")
    for part, state in results["parts"].items():
        print(f"{part:12} {state['state']:8} {state['seconds']:4}  {state['why']}")
    if results["first_launch"]:
        print(f"\n{'ms until':42} {'open':>8} {'first':>8} {'second':>8}")
        for row in results["first_launch"]:
            print(f"{row['program']:42} {row['open_ms']:8.1f} {row['first_ms']:8.3f} {row['second_ms']:8.3f}")
    if results["kernels"]:
        print(f"\n{'kernel':26} {'shape':58} {'us':>9} {'GB/s':>7} {'TFLOP/s':>8} {'limit':>13} {'of it':>6}  ratio to")
        for row in results["kernels"]:
            peer = f"{row['ratio']:5.2f} {row['peer']}" if "ratio" in row else ""
            print(f"{row['kernel']:26} {row['shape']:58} {row['us']:9.1f} {row['gb_s']:7.0f} {row['tflop_s']:8.1f} "
                  f"{row['limit']:>13} {row['of_limit']:6.0%}  {peer}")


def draw(rows, title):
    """A bar a row: how much of its limit it reaches, with the peer's mark."""
    parts = [f'<text x="20" y="26" font-size="16" font-weight="bold">{escape(title)}</text>']
    for number, row in enumerate(rows):
        y = 44 + number * BAR
        parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(row["kernel"] + ": " + row["shape"])}</text>')
        parts.append(f'<rect x="{LABEL}" y="{y}" width="{SCALE * row["of_limit"]:.1f}" height="{BAR - 4}" fill="#c2410c"/>')
        if "ratio" in row:
            x = LABEL + SCALE * row["of_limit"] / row["ratio"]
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
    kernels = list(with_peers(read_lines(f"{found}/bench.jsonl"), read_lines(f"{found}/peers.jsonl")))
    results = {
        "date": datetime.date.today().isoformat(),
        "device": kernels[0]["device"] if kernels else None,
        "parts": read_states(f"{found}/states.tsv"),
        "first_launch": first_launches(read_lines(f"{found}/questions.jsonl")),
        "kernels": kernels,
        "peers": read_lines(f"{found}/peers.jsonl"),
    }
    print_tables(results)
    path = f"{into}/{results['date']}-gpu"
    with open(path + ".json", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    if kernels:
        with open(path + ".svg", "w", encoding="utf-8") as file:
            file.write(draw(kernels, f"{results['device']}: how much of its limit a kernel reaches; the mark is the best peer"))
    print(f"\nwritten: {path}.json" + (f" and {path}.svg" if kernels else ""))


if __name__ == "__main__":
    main()
