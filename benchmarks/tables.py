"""Tables of which the truth is known: how many are read right, refused or noted, and misread silently.

- tables: separators, date formats, frequencies, layouts of ids, zones, gaps and orders of rows, made from a number
- truth: pandas' offsets and the values that were written, for the series, their times and the times after the last
- noted: read wrongly, with a note that says what may be wrong (dates such as 01/02/2020 may fit both orders)
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import harness

sys.path.append(str(Path(__file__).parents[1] / "tests" / "data" / "series"))  # pytest has it in its own list

from made_tables import make_table, outcome

TABLES, QUICK = 2000, 50


def main() -> None:
    """Read all tables and print the counts."""
    given = harness.options(__doc__)
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    misread: list[dict[str, Any]] = []
    noted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(QUICK if given.quick else TABLES):
            table = make_table(seed)
            what, why = outcome(table, Path(folder))
            counts[what] += 1
            if what == "misread":
                misread.append({"seed": seed, **table.made, "wrong": why})
            elif what != "right":
                noted[table.made["form"]] += 1
    figures = {
        "quick": given.quick,
        "tables": sum(counts.values()),
        **{what: counts[what] for what in ("right", "refused", "noted", "misread")},
        "refused_or_noted_by_format": dict(noted.most_common()),
        "misread_tables": misread,
        "seconds": round(time.perf_counter() - began, 1),
    }
    harness.finish(figures, given.output)


if __name__ == "__main__":
    main()
