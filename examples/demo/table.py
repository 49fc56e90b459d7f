#!/usr/bin/env python3
"""Print the demo's rows (one JSON object a line, as plot.py reads them) as one table with notes below it.

table.py ROWS.jsonl
"""

import json
import sys
from pathlib import Path

COLUMNS = [
    # title, key, digits after the point (None: text)
    ("row", "row", None),
    ("precision", "precision", None),
    ("items", "items", 0),
    ("accuracy", "accuracy", 3),
    ("CER", "cer", 3),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
    ("per s", "per_s", 1),
    ("model ms", "model_ms", 2),
    ("skipped", "skipped", 2),
    ("overhead us", "overhead_us", 0),
]
PIPELINES = {
    "document-reader": "pages: decode, find lines, crop, direction, read each line, merge",
    "read-line": "cascade: a small recogniser first, the large one where it is unsure",
    "read-line-vote": "ensemble of three recognisers: shows fan-out and joining; the vote does NOT pay in accuracy",
    "file-type": "cascade: libmagic, then magika in bf16, then in f32 where that is unsure",
}
NOTES = """\
accuracy: exact matches (of pages: lines found and read exactly); CER: character errors a character of the truth
p50, p99: one call at a time; per s: closed loop over all lanes (the direct rows: as many threads); all widths were warm
model ms: mean time in models an item; skipped: mean number of stages skipped a call
overhead us: mean of a call's latency less the time its functions needed on these lanes, by its trace"""


def cell(value: object, digits: int | None) -> str:
    if value is None:
        return "-"
    if digits is None or isinstance(value, str):
        return str(value)
    return f"{value:.{digits}f}"


def print_pipeline(name: str, rows: list[dict], widths: list[int]) -> None:
    print(f"\n{name}: {PIPELINES.get(name, 'a pipeline')}")
    for row in rows:
        if row.get("p50_ms") is None and isinstance(row.get("skipped"), str):
            print(f"  {row['row']}: {row['skipped']}")
            continue
        cells = [cell(row.get(key), digits) for _, key, digits in COLUMNS]
        print("  " + line(cells, widths))


def line(cells: list[str], widths: list[int]) -> str:
    # The two columns of text on the left, numbers on the right.
    return "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = [json.loads(text) for text in Path(sys.argv[1]).read_text().splitlines() if text.strip()]
    pipelines: dict[str, list[dict]] = {}
    for row in rows:
        pipelines.setdefault(row["pipeline"], []).append(row)
    widths = [
        max(len(title), *(len(cell(row.get(key), digits)) for row in rows if row.get("p50_ms") is not None))
        for title, key, digits in COLUMNS
    ]
    print("  " + line([title for title, _, _ in COLUMNS], widths))
    for name, of_pipeline in pipelines.items():
        print_pipeline(name, of_pipeline, widths)
    print(f"\n{NOTES}")


if __name__ == "__main__":
    main()
