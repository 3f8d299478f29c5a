"""Convert the extra series of the embedded teacher (`series.npz`) to Parquet files that a recipe can name.

    python tools/pretrain_parquet.py shared/data/pretrain/series.npz runs/pretrain

One file per source and sampling step, with the columns unique_id and y; the archive has no timestamps. Series that
overlap with data on which the teacher is judged are left out; `LEFT_OUT` lists them with the reason.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

ARRAYS = ("values", "offsets", "source", "name", "freq")
JUDGED = "overlaps with data on which the teacher is judged"
#: (pattern of the source, of the step, of the series' name, reason); a pattern must match the whole text
LEFT_OUT = (
    ("us_unemp_ind|fx_monthly|oil|us_births_monash", ".*", ".*", JUDGED),
    (
        "rt_(?!atmospheric_co2_concentrations$|seattle_burke_gilman_trail$).*",
        ".*",
        ".*",
        "files in which ids of several series run together",
    ),
    ("fcomp_tcomp", "M", ".*", JUDGED),
    (
        ".*",
        ".*",
        ".*(auscafe|gasoline|fred_housing|us_change|uschange|sp500|usdeur|us_employment|retail|pedestrian|unemployment"
        "|usmelec).*",
        JUDGED,
    ),
)


def left_out(source: str, step: str, name: str) -> str | None:
    """The reason why a series is left out; None for the others."""
    for *patterns, reason in LEFT_OUT:
        texts = (source, step, name.lower())
        if all(re.fullmatch(pattern, text) for pattern, text in zip(patterns, texts, strict=True)):
            return reason
    return None


def convert(archive: Path, output: Path) -> tuple[int, Counter[str]]:
    """Write the files.

    Returns
    -------
    tuple
        Number of series written, and by reason how many were left out.
    """
    with np.load(archive, allow_pickle=False) as file:
        values, offsets, source, name, step = (file[key] for key in ARRAYS)
    series: dict[tuple[str, str], list[int]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    for i, place in enumerate(zip(source.tolist(), step.tolist(), strict=True)):
        reason = left_out(*place, str(name[i]))
        if reason is None:
            series[place].append(i)
        else:
            reasons[reason] += 1
    output.mkdir(parents=True, exist_ok=True)
    for (of, at), numbers in series.items():
        lengths = np.diff(offsets)[numbers]
        ids = pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(len(numbers), dtype=np.int32), lengths), pa.array(_distinct(name[numbers].tolist()))
        )
        rows = np.concatenate([values[offsets[i] : offsets[i + 1]] for i in numbers])
        table = pa.table({"unique_id": ids, "y": pa.array(rows, from_pandas=True)})  # NaN becomes null
        parquet.write_table(table, output / f"{of}_{at}.parquet")
    return sum(map(len, series.values())), reasons


def _distinct(names: list[str]) -> list[str]:
    """The names, with a number where one occurs again."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return found


def main() -> None:
    """Convert and print what was left out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    written, reasons = convert(options.archive, options.output)
    print(f"{options.output}: {written:,} series in {len(list(options.output.glob('*.parquet')))} files")
    for reason, count in reasons.most_common():
        print(f"left out: {count:,} series ({reason})")


if __name__ == "__main__":
    main()
