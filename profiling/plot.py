"""Draws the rows of build/bench/results.json as one SVG: a panel a row, a bar an engine, shorter is better."""
from xml.sax.saxutils import escape

PANEL_WIDTH, LABEL_WIDTH, BAR_HEIGHT, COLUMNS, MARGIN = 560, 170, 18, 2, 20
COLOURS = {"recto": "#c2410c", "best": "#475569", "other": "#a8b3c2"}


def text(x, y, content, size=12, weight="normal", anchor="start"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}">{escape(content)}</text>')


def bars_of(row):
    """(name, milliseconds, colour), fastest first."""
    bars = [(name, ms, "best" if name == row["best_peer"] else "other") for name, ms in row["peers"].items()]
    if row["recto_ms"] is not None:
        bars.append(("recto", row["recto_ms"], "recto"))
    return sorted(bars, key=lambda bar: bar[1])


def panel(row, left, top):
    bars = bars_of(row)
    longest = max(ms for _, ms, _ in bars)
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    ratio = f": recto {row['ratio']:.2f} times the best peer" if row["ratio"] else ""
    parts = [text(left, top + 14, f"{row['work']} · {row['precision']} · {threads}{ratio}", 13, "bold")]
    for number, (name, ms, kind) in enumerate(bars):
        y = top + 24 + number * BAR_HEIGHT
        width = (PANEL_WIDTH - LABEL_WIDTH - 90) * ms / longest
        parts.append(text(left + LABEL_WIDTH - 6, y + 12, name, anchor="end"))
        parts.append(f'<rect x="{left + LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT - 4}" fill="{COLOURS[kind]}"/>')
        parts.append(text(left + LABEL_WIDTH + width + 5, y + 12, f"{ms:.3g} ms"))
    return parts, 34 + len(bars) * BAR_HEIGHT


def draw(results, path):
    heights, parts = [MARGIN + 44] * COLUMNS, []
    for row in results:
        if not row["peers"] and row["recto_ms"] is None:
            continue
        column = heights.index(min(heights))
        drawn, height = panel(row, MARGIN + column * (PANEL_WIDTH + MARGIN), heights[column])
        parts += drawn
        heights[column] += height + 12
    width, height = MARGIN + COLUMNS * (PANEL_WIDTH + MARGIN), max(heights) + MARGIN
    cpu = results[0]["cpu"] if results else ""
    title = [text(MARGIN, MARGIN + 8, "MiniLM embeddings: milliseconds a text (shorter is better)", 17, "bold"),
             text(MARGIN, MARGIN + 28, f"{cpu}; medians of interleaved runs; recto, the best peer of the same precision, other peers")]
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">\n'
                    f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(title + parts) + "\n</svg>\n", encoding="utf-8")
