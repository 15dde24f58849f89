#!/usr/bin/env python3
"""table.py FOUND INTO [SOURCES]: what the parts of scripts/gpu left in the folder FOUND, as a table on standard output and as
DATE-gpu.json and DATE-gpu.svg in the folder INTO. Parts that were not run, or were run with other sources than SOURCES, a sum over
them, are named with the reason. Figures of the emulator are no results: they are refused. Ends with 1 where a part failed or a
result differs from a peer's, with 78 where anything was not run."""
import datetime
import json
import os
import statistics
import sys
from collections import defaultdict
from xml.sax.saxutils import escape

import goals

PARTS = ("build", "questions", "conformance", "cases", "golden", "memcheck", "racecheck", "synccheck", "initcheck", "kernels",
         "models", "peers")
FILES = {"asked": "questions", "questions": "questions", "bench": "kernels", "model": "models", "peers": "peers"}  # file: part
BAR, LABEL, SCALE = 18, 520, 360


def read_lines(found, name, parts):
    """Of a file that a part left; nothing where that part was run with other sources. Who was killed may have left half a line."""
    path, rows = f"{found}/{name}.jsonl", []
    if parts.get(FILES[name], {}).get("stale") or not os.path.exists(path):
        return rows
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("}\n"):
                rows.append(json.loads(line))
    return rows


def read_states(found, sources):
    """The state of every part that was begun."""
    states = {}
    for part in PARTS:
        if os.path.exists(f"{found}/{part}.state"):
            with open(f"{found}/{part}.state", encoding="utf-8") as file:
                state, seconds, expected, of_sources, why = file.read().rstrip("\n").split("\t")
            states[part] = {"state": state, "seconds": int(seconds), "expected": int(expected), "why": why}
            if sources and of_sources != sources:
                states[part] |= {"state": "not run", "stale": True, "why": f"it was run with other sources: {state} {why}".strip()}
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
            if "us" in peer and (peer["kernel"], peer["shape"]) == (row.get("kernel") or row["measure"], row["shape"]):
                row.setdefault("peers", {})[peer["peer"]] = peer["us"]
                if "difference" in peer:
                    row.setdefault("differences", {})[peer["peer"]] = peer["difference"]
        row.pop("sample", None)
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
    print(f"\n{'part':12} {'state':10} {'s':>4} {'expected':>8}")
    for part in PARTS:
        state = parts.get(part, {"state": "not run", "seconds": "", "expected": "", "why": "not asked for"})
        print(f"{part:12} {state['state'].replace('not run', 'NOT RUN'):10} {state['seconds']:>4} {state['expected']:>8}  "
              f"{state['why']}")


def print_peers(peers):
    """Those that have no figure: what they said, and whose time was over."""
    groups = defaultdict(list)
    for peer in peers:
        for word in ("cut", "refused"):
            if word in peer:
                groups[word, peer["peer"], peer[word]].append(f"{peer['kernel']}: {peer['shape']}")
    if groups:
        print("\npeers without a figure")
    for (word, peer, why), where in sorted(groups.items()):
        print(f"  {word:8} {peer}: {why} ({where[0]}{f', and {len(where) - 1} more' if len(where) > 1 else ''})")


def attention_answers(asked):
    """What every change of the kernel saves, by length: what it waits for is what saves most."""
    rows = defaultdict(dict)
    for row in asked:
        if row["kernel"].startswith("variant of attention: "):
            rows[row["kernel"].split(": ")[1]][row["shape"]] = row
    for name, shapes in rows.items():
        yield name, {shape: rows["unchanged"][shape]["us"] / row["us"] for shape, row in shapes.items()
                     if shape in rows["unchanged"]}, max(row["tflop_s"] for row in shapes.values())


def tile_answers(asked):
    """(linear and shape, chosen tile, fastest tile, how much longer the chosen one takes, cuBLASLt's time in the fastest's)."""
    groups = defaultdict(list)
    for row in asked:
        if row["kernel"].startswith("tile "):
            tile, linear = row["kernel"][5:].split(" of ")
            groups[f"{linear}, {row['shape']}"].append((tile, row))
    for work, tiles in groups.items():
        fastest = min(tiles, key=lambda one: one[1]["us"])
        chosen = next((one for one in tiles if "(chosen)" in one[0]), fastest)
        peer = goals.best_peer(fastest[1])
        yield work, chosen[0].split()[0], fastest[0].split()[0], chosen[1]["us"] / fastest[1]["us"], \
            peer and peer[1] / fastest[1]["us"]


def print_answers(asked):
    variants, tiles = list(attention_answers(asked)), list(tile_answers(asked))
    if variants:
        lengths = list(variants[0][1])
        print(f"\n{'attention, heads of 64, how many times as fast':48}" + "".join(f" {length:>22}" for length in lengths)
              + "  TFLOP/s")
    for name, gains, rate in variants:
        print(f"{name:48}" + "".join(f" {gains[length]:22.2f}" if length in gains else " " * 23 for length in lengths)
              + f" {rate:8.0f}")
    if tiles:
        print(f"\n{'tiles of linears':48} {'chosen':>14} {'fastest':>14} {'chosen takes':>12}  cuBLASLt takes")
    for work, chosen, fastest, longer, peer in tiles:
        print(f"{work:48} {chosen:>14} {fastest:>14} {longer:12.2f}  {shown(peer, '.2f')}")


def read_clocks(found, name):
    """MHz and watts of the samples that nvidia-smi took while the device was busy, [(clock, power)]."""
    samples = []
    for line in (read_text(f"{found}/{name}.csv") or "").splitlines():
        try:
            clock, power, busy = (float(word) for word in line.split(","))
        except ValueError:
            continue  # half a line, or what has no such sensor
        if busy > 0:
            samples.append((clock, power))
    return samples


def print_clocks(clocks):
    for name, samples in clocks.items():
        if samples:
            mhz, watts = zip(*samples)
            print(f"\nclock while {name} ran: {min(mhz):.0f} to {max(mhz):.0f} MHz, median {statistics.median(mhz):.0f}; "
                  f"power: median {statistics.median(watts):.0f} W, most {max(watts):.0f} W")


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
              f"{row['limit']:>12} {row['of_limit']:6.0%}  {peers}"
              + "".join(f"; NOT THE RESULT OF {peer}" for peer in goals.disagreeing(row)))


def print_measures(measures):
    if measures:
        print(f"\n{'measure':64} {'shape':24} {'value':>12}")
    for row in measures:
        peers = ", ".join(f"{us:.1f} {name}" for name, us in row.get("peers", {}).items())
        print(f"{row['measure']:64} {row['shape']:24} {row['value']:12.3f} {row['unit']}" + (f"  beside {peers}" if peers else ""))


def shown(value, form):
    return "" if value is None else format(value, form)


def print_goals(lines):
    print(f"\n{'goal':60} {'figure':>9} {'':16} {'wanted':>12} {'limit':>9} {'of it':>6} {'ratio':>6}  state")
    for line in lines:
        sign = ">=" if line["at_least"] else "<="
        wanted = f"{sign} " + ", ".join(f"{goal:g}" for goal in line["goal"]) if line["unit"] else ""
        print(f"{line['work']:60} {shown(line['figure'], '9.4g'):>9} {line['unit']:16} {wanted:>12} "
              f"{shown(line['limit'], '.4g'):>9} {shown(line['of_limit'], '.0%'):>6} {shown(line['ratio'], '.2f'):>6}"
              f"  {line['state']}" + (f" ({line['note']}{'; ' + line['peer'] if line['peer'] else ''})" if line["note"] else ""))
    print("goals: " + ", ".join(f"{number} {state}" for state, number in goals.count(lines).items()))


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


def status(results):
    """How the program ends: see above."""
    count, states = goals.count(results["goals"]), [part["state"] for part in results["parts"].values()]
    if any(map(goals.disagreeing, results["kernels"])) or "FAILED" in states or "cut short" in states:
        return 1
    return 78 if count[goals.NOT_RUN] or any(state != "passed" for state in states) else 0


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    found, into, sources = (*sys.argv[1:], "")[:3]
    parts = read_states(found, sources)
    lines = [line for name in ("bench", "model") for line in read_lines(found, name, parts)]
    peers = read_lines(found, "peers", parts)
    devices = [line for line in lines if "architecture" in line]
    if any("emulated" in line["device"] for line in lines):
        sys.exit("figures of the emulated device are no results: nothing was written")
    results = {
        "date": datetime.date.today().isoformat(),
        "device": devices[0] if devices else None,
        "machine": read_text(f"{found}/machine.txt"),
        "parts": parts,
        "asked": [line for line in read_lines(found, "asked", parts) if "kernel" in line],
        "first_launch": first_launches(read_lines(found, "questions", parts)),
        "clocks": {name: read_clocks(found, name) for name in ("questions", "kernels", "models")},
        "unanswered": read_text(f"{found}/unanswered.txt"),
        "kernels": list(with_peers([line for line in lines if "kernel" in line], peers)),
        "measures": list(with_peers([line for line in lines if "measure" in line], peers)),
        "peers": peers,
    }
    results["command"] = "scripts/gpu " + " ".join(results["parts"])
    results["goals"] = goals.judge(results)
    print_rows(results["kernels"])
    print_measures(results["measures"])
    print_peers(peers)
    print_rows(results["asked"])
    print_answers(results["asked"])
    print_questions(results)
    print_clocks(results["clocks"])
    print_parts(results["parts"])
    print_goals(results["goals"])
    path = f"{into}/{results['date']}-gpu"
    with open(path + ".json", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    if results["kernels"]:
        with open(path + ".svg", "w", encoding="utf-8") as file:
            device = results["kernels"][0]["device"]
            file.write(draw(results["kernels"], f"{device}: how much of its limit a kernel reaches; the mark is the best peer"))
    print(f"\nwritten: {path}.json" + (f" and {path}.svg" if results["kernels"] else ""))
    return status(results)


if __name__ == "__main__":
    sys.exit(main())
