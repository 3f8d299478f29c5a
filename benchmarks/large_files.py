"""Memory and time for files that are larger than the memory: opened, trained on and forecast.

    python benchmarks/large_files.py                    # 1 GB as CSV and as Parquet, long and wide
    python benchmarks/large_files.py --gigabytes 10 --kinds csv --layouts "sorted by id"
    python benchmarks/large_files.py --layouts "10,000 series"

Each step runs in a process of its own. Its peak is measured twice: ``peak_mb`` is the resident memory, which has the
pages of memory-mapped files that the system may take back at any time; ``anonymous_mb`` is the memory that it cannot
take back, sampled every 0.2 seconds. The results are written to ``benchmarks/evidence/large_files.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

EVIDENCE = Path(__file__).parent / "evidence" / "large_files.json"
LAYOUTS = ("sorted by id", "sorted by time", "wide", "10,000 series")
_SERIES = 1000  # of long tables
_COLUMNS = 100  # of wide tables
_BLOCK = 1_000_000  # values made at a time
_OPEN = (
    "import sys; from potstill.data.series.opening import open_store; from potstill.recipe import SeriesData;"
    " store = open_store(SeriesData(paths=[sys.argv[1]])); print(len(store), 'series,', len(store.values), 'values')"
)
_LENGTHS = ["--context-length", "48", "--prediction-length", "6", "--device", "cpu"]
_STEPS = {
    "open": ["-c", _OPEN, "{file}"],
    "train": ["-m", "potstill", "distill", "--teacher", "embedded", "--data", "{file}", "--student", "linear",
              "--alpha", "0", "--max-steps", "300", "--batch-size", "32", *_LENGTHS, "--output", "{run}"],
    "forecast": ["-m", "potstill", "forecast", "{run}/student", "{file}", *_LENGTHS[2:], "--output", "{output}"],
}  # fmt: skip


def blocks(layout: str, size: float, bytes_per_value: float) -> Iterator[pa.Table]:
    """The rows of a file of about ``size`` bytes."""
    rng = np.random.default_rng(0)
    if layout == "wide":
        rows, step = int(size / (bytes_per_value * _COLUMNS)), _BLOCK // _COLUMNS
        for first in range(0, rows, step):
            hours = np.arange(first, min(first + step, rows))
            columns = {f"load_{k}": _values(rng, hours, k) for k in range(_COLUMNS)}
            yield pa.table({"date": _stamps(hours), **columns})
        return
    series = 10_000 if layout == "10,000 series" else _SERIES
    rows = 100 if layout == "10,000 series" else int(size / (bytes_per_value + 27) / series)
    if layout == "sorted by time":
        step = _BLOCK // series
        for first in range(0, rows, step):
            hours = np.repeat(np.arange(first, min(first + step, rows)), series)
            yield _long(rng, np.tile(np.arange(series), len(hours) // series), hours)
        return
    step = max(_BLOCK // rows, 1)
    for first in range(0, series, step):
        ids = np.arange(first, min(first + step, series))
        yield _long(rng, np.repeat(ids, rows), np.tile(np.arange(rows), len(ids)))


def _long(rng: np.random.Generator, ids: np.ndarray, hours: np.ndarray) -> pa.Table:
    names = pa.array(np.char.add("s", np.arange(ids.max() + 1).astype(str)))
    return pa.table({"unique_id": names.take(pa.array(ids)), "ds": _stamps(hours), "y": _values(rng, hours, ids)})


def _stamps(hours: np.ndarray) -> pa.Array:
    return pa.array(np.datetime64("1990-01-01", "s") + hours.astype("m8[h]"))


def _values(rng: np.random.Generator, hours: np.ndarray, k: np.ndarray | int) -> np.ndarray:
    level = 10 + np.asarray(k) % 7
    return (level + np.sin(2 * np.pi * hours / 24) + rng.normal(0, 0.3, len(hours))).round(4)


def make(path: Path, layout: str, gigabytes: float) -> None:
    """Write a file in blocks."""
    kind, writer = path.suffix, None
    for table in blocks(layout, gigabytes * 1e9, 8.0):
        if writer is None and kind == ".csv":
            writer = arrow_csv.CSVWriter(str(path), table.schema)
        elif writer is None:
            writer = parquet.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        assert writer is not None
        writer.write_table(table)
    assert writer is not None
    writer.close()


def measured(arguments: list[str], environment: dict[str, str]) -> dict[str, float | str]:
    """Run Python: its seconds, its peaks of memory in MB, and its last line of output."""
    began, anonymous = time.perf_counter(), 0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=out, stderr=out)
        peak = 0
        while process.poll() is None:
            status = _status(process.pid)
            anonymous = max(anonymous, status.get("RssAnon", 0))
            peak = max(peak, status.get("VmHWM", 0))
            time.sleep(0.2)
        out.seek(0)
        lines = out.read().decode(errors="replace").strip().splitlines()
    if process.returncode:
        raise SystemExit("\n".join(lines[-20:]))
    seconds = time.perf_counter() - began
    return {
        "seconds": round(seconds, 1),
        "peak_mb": round(peak / 1024),
        "anonymous_mb": round(anonymous / 1024),
        "last_line": re.sub(r"\S*/", "", lines[-1]) if lines else "",  # without the temporary folder
    }


def _status(process: int) -> dict[str, int]:
    """The memory of a process in KB, from ``/proc``."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith("kB"))
    return {key: int(value.split()[0]) for key, value in pairs}


def main() -> None:
    """Make each file, open it, train on it and forecast it, and add the results to the evidence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--kinds", nargs="+", default=["csv", "parquet"], choices=["csv", "parquet"])
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=LAYOUTS)
    parser.add_argument("--steps", nargs="+", default=list(_STEPS), choices=list(_STEPS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the files and stores")
    options = parser.parse_args()
    for layout in options.layouts:
        for kind in options.kinds:
            with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
                folder = Path(temporary)
                file = folder / f"large.{kind}"
                make(file, layout, options.gigabytes)
                file_bytes = file.stat().st_size
                entry: dict[str, object] = {"bytes": file_bytes, "cpus": os.cpu_count()}
                places = {"file": str(file), "run": str(folder / "run"), "output": str(folder / "forecast.parquet")}
                environment = {**os.environ, "POTSTILL_CACHE": str(folder / "cache")}
                for step in options.steps:
                    arguments = [argument.format(**places) for argument in _STEPS[step]]
                    entry[step] = measured(arguments, environment)
                    print(layout, kind, f"{file_bytes / 1e9:.2f} GB", step, entry[step], flush=True)
            results = json.loads(EVIDENCE.read_text()) if EVIDENCE.exists() else {}
            results[f"{layout}, {kind}, {file_bytes / 1e9:.2g} GB"] = entry
            EVIDENCE.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
