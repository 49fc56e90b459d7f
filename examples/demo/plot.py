#!/usr/bin/env python3
"""Draw the demo's results: latency and accuracy of each pipeline, beside the same models called directly.

    plot.py ROWS.jsonl OUT.png

ROWS.jsonl holds one object a line: {"pipeline", "row", "precision", "items", "accuracy", "cer", "p50_ms", "p99_ms",
"per_s", "model_ms", "skipped", "overhead_us"}. `row` is "squall" for the pipeline served by Squall, "direct" for the
same pipeline called without it, or the name of a single model. A figure that was not measured is null or absent; a
`skipped` that is text says why a row has none.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

# Dark enough for text beside them; told apart without colour by the labels of the rows.
COLORS = {"squall": "#1f6fb4", "direct": "#d9822b"}
OTHER_COLOR = "#8a94a0"
ROW_INCHES = 0.42


def read_rows(path: Path) -> dict[str, list[dict]]:
    pipelines: dict[str, list[dict]] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            pipelines.setdefault(row["pipeline"], []).append(row)
        except (json.JSONDecodeError, KeyError, TypeError) as problem:
            sys.exit(f"plot.py: {path}:{number}: {type(problem).__name__}: {problem}")
    if not pipelines:
        sys.exit(f"plot.py: {path} has no rows")
    return pipelines


def label(row: dict) -> str:
    precision = row.get("precision")
    return f"{row.get('row', '?')} ({precision})" if precision else str(row.get("row", "?"))


def color(row: dict) -> str:
    return COLORS.get(row.get("row", ""), OTHER_COLOR)


def milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def latency_note(row: dict) -> str:
    note = milliseconds(row["p50_ms"])
    if row.get("p99_ms") is not None:
        note += f" / {milliseconds(row['p99_ms'])} ms"
    if row.get("overhead_us") is not None:
        note += f", Squall's own {row['overhead_us']:.0f} us"
    return note


def draw_latency(axes: plt.Axes, rows: list[dict]) -> None:
    measured = [max(row.get("p50_ms") or 0, row.get("p99_ms") or 0) for row in rows]
    # Room to the right of the longest bar for what stands beside it.
    limit = max(measured, default=0) * 1.75 or 1.0
    for y, row in enumerate(rows):
        if row.get("p50_ms") is None:
            reason = row.get("skipped")
            axes.text(limit * 0.01, y, reason if isinstance(reason, str) else "not measured", va="center", fontsize=8)
            continue
        end = row["p50_ms"]
        axes.barh(y, row["p50_ms"], height=0.62, color=color(row))
        if row.get("p99_ms") is not None:
            end = max(end, row["p99_ms"])
            axes.plot([row["p50_ms"], row["p99_ms"]], [y, y], color="#222222", linewidth=1.2)
            axes.plot([row["p99_ms"]], [y], marker="|", markersize=11, color="#222222")
        axes.text(end + limit * 0.015, y, latency_note(row), va="center", fontsize=8)
    axes.set_xlim(0, limit)


def draw_accuracy(axes: plt.Axes, rows: list[dict]) -> None:
    for y, row in enumerate(rows):
        if row.get("accuracy") is None:
            continue
        axes.barh(y, row["accuracy"], height=0.62, color=color(row))
        note = f"{row['accuracy']:.3f}"
        if row.get("cer") is not None:
            note += f", CER {row['cer']:.3f}"
        axes.text(row["accuracy"] + 0.015, y, note, va="center", fontsize=8)
    # From zero, so that the bars' lengths compare as the numbers do.
    axes.set_xlim(0, 1.45)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])


def finish(axes: plt.Axes, rows: list[dict], x_label: str) -> None:
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(x_label, fontsize=8)
    axes.tick_params(axis="both", labelsize=8)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw(pipelines: dict[str, list[dict]], out: Path) -> None:
    # Each pipeline needs its rows, and room for its title and its axis.
    heights = [len(rows) + 2.2 for rows in pipelines.values()]
    figure, grid = plt.subplots(
        len(pipelines),
        2,
        figsize=(12, ROW_INCHES * sum(heights) + 0.7),
        gridspec_kw={"height_ratios": heights, "width_ratios": [1.5, 1]},
        squeeze=False,
        layout="constrained",
    )
    for (name, rows), (left, right) in zip(pipelines.items(), grid, strict=True):
        draw_latency(left, rows)
        draw_accuracy(right, rows)
        finish(left, rows, "latency, ms: p50 (bar) and p99 (mark)")
        finish(right, rows, "accuracy")
        left.set_yticks(range(len(rows)), [label(row) for row in rows])
        right.set_yticks([])
        items = next((row["items"] for row in rows if row.get("items")), None)
        title = f"{name}, {items} items" if items else name
        left.set_title(title, loc="left", fontsize=10, fontweight="bold")
    figure.legend(
        handles=[
            Patch(color=COLORS["squall"], label="served by Squall"),
            Patch(color=COLORS["direct"], label="the same pipeline called directly"),
            Patch(color=OTHER_COLOR, label="one model"),
            Line2D([], [], color="#222222", marker="|", markersize=11, label="p99"),
        ],
        loc="outside upper center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    figure.savefig(out, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the demo's results as one picture.")
    parser.add_argument("rows", type=Path, help="JSON, one object a line")
    parser.add_argument("out", type=Path, help="PNG file to write")
    args = parser.parse_args()
    draw(read_rows(args.rows), args.out)
    print(f"plot: {args.out}")


if __name__ == "__main__":
    main()
