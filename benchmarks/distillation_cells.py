"""Finished cells of ``distillation.py`` in one file of the repository: another machine goes on where this one stopped.

Each line is the JSON of one file in the benchmark's folder (cells, and the costs of a step); numbers have four digits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from potstill.runs import write_atomically

DIGITS = 4
COSTS = "costs"


def restore(saved: Path, runs: Path) -> None:
    """Write the files of saved cells that are not in ``runs`` yet."""
    if not saved.exists():
        return
    for line in saved.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        place = file_of(runs, entry["key"])
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, json.dumps(entry["result"]))


def save(runs: Path, saved: Path) -> None:
    """Write the cells of ``runs`` into one file, in the order of their names."""
    files = {COSTS: runs / "costs.json"} | {path.stem: path for path in sorted((runs / "cells").glob("*.json"))}
    lines = [
        json.dumps({"key": key, "result": rounded(json.loads(path.read_text(encoding="utf-8")))}, separators=(",", ":"))
        for key, path in files.items()
        if path.exists()
    ]
    write_atomically(saved, "\n".join(lines) + "\n")


def file_of(runs: Path, key: str) -> Path:
    """Where a run keeps an entry."""
    return runs / "costs.json" if key == COSTS else runs / "cells" / f"{key}.json"


def rounded(value: Any) -> Any:
    """The same tree with floats of ``DIGITS`` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return value
