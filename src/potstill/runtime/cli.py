"""The command ``potstill-runtime``: forecast a CSV file with an exported model, or describe the model."""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .checks import levels_of, whole_number
from .csv_files import Columns, Series, Table, read_table, texts_ahead
from .errors import ExportError, NotFinite
from .runtime import MAX_STEPS, Runtime

DEFAULT_LEVELS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"
BATCH_SIZE = 256  # series
BATCH_VALUES = 5_000_000  # series times levels times steps: the memory of long forecasts is bounded
STEP_COLUMN = "step"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if it succeeded, 2 if the input is wrong."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except ExportError as error:
        print("potstill-runtime:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="potstill-runtime", description="Forecast with models written by `potstill export`."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    forecast = commands.add_parser(
        "forecast", help="forecast every series of a CSV file", description="Forecast every series of a CSV file."
    )
    forecast.add_argument("model", metavar="DIR", type=Path, help="folder written by `potstill export`")
    forecast.add_argument("data", metavar="FILE", type=Path, help="CSV file with a header and a row for each time")
    forecast.add_argument(
        "--prediction-length", "--horizon", metavar="STEPS", help="steps ahead; default: the model's horizon"
    )
    forecast.add_argument("--output", type=Path, metavar="FILE", help="CSV file to write; default: standard output")
    forecast.add_argument("--quantiles", default=DEFAULT_LEVELS, help="levels in (0, 1); default: %(default)s")
    forecast.add_argument("--id-column", metavar="NAME", help="column that tells series apart; default: found")
    forecast.add_argument("--time-column", metavar="NAME", help="column with times; default: found")
    forecast.add_argument("--target", metavar="NAME", help="column to forecast; default: found")
    forecast.add_argument("--threads", metavar="N", help="threads of a forecast; default: all cores")
    forecast.set_defaults(run=_forecast)
    info = commands.add_parser("info", help="describe an exported model", description="Describe an exported model.")
    info.add_argument("model", metavar="DIR", type=Path, help="folder written by `potstill export`")
    info.set_defaults(run=_info)
    return parser


def _info(given: argparse.Namespace) -> None:
    runtime = Runtime(given.model)
    manifest = runtime.manifest
    size = sum(path.stat().st_size for path in runtime.files)
    described: dict[str, Any] = {
        "name": manifest.name,
        "family": manifest.family,
        "experts": ", ".join(manifest.experts),
        "parameters": f"{manifest.parameters:,}",
        "format": f"{manifest.backend}, {manifest.precision}",
        "size": f"{size / 1e6:.2f} MB",
        "context": f"up to {manifest.max_context:,} steps",
        "horizon": f"{manifest.max_horizon:,} steps; longer forecasts are rolled out",
        "reads": "groups and covariates, from Python" if manifest.groups else "",
        "quantiles": ", ".join(f"{level:g}" for level in manifest.levels),
        "licence": manifest.licence,
    }
    if "added_sql" in manifest.parity:
        described["loss"] = f"{100 * manifest.parity['added_sql']:+.2f} % SQL of the PyTorch model"
    for name, value in described.items():
        if value:
            print(f"{name:<10}  {value}")


def _forecast(given: argparse.Namespace) -> None:
    levels = levels_of(given.quantiles.split(","))
    threads = None if given.threads is None else _number("--threads", given.threads)
    runtime = Runtime(given.model, threads)
    steps = runtime.manifest.max_horizon
    if given.prediction_length is not None:
        steps = _number("--prediction-length", given.prediction_length, MAX_STEPS)
    if given.output is not None and given.output.exists() and given.data.exists() and given.output.samefile(given.data):
        raise ExportError(f"--output {given.output}: is the file that is read, and would be replaced; choose another.")
    table = read_table(given.data, Columns(given.id_column, given.time_column, given.target))
    size = max(1, min(BATCH_SIZE, BATCH_VALUES // (len(levels) * steps)))
    without: list[str] = []
    with _written(given.output) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([table.id_column, table.time_column or STEP_COLUMN, *(f"q{level:g}" for level in levels)])
        for first in range(0, len(table.series), size):
            batch = table.series[first : first + size]
            quantiles = _quantiles(runtime, batch, steps, levels)
            writer.writerows(_rows(table, batch, quantiles))
            without += [series.name for series, own in zip(batch, quantiles, strict=True) if np.isnan(own).any()]
    _summarise(given, table, without)


def _number(option: str, text: str, largest: int | None = None) -> int:
    return whole_number(option, int(text) if text.strip().isascii() and text.strip().isdigit() else text, largest)


def _quantiles(runtime: Runtime, batch: Sequence[Series], steps: int, levels: Sequence[float]) -> np.ndarray:
    """Quantiles ``[B, Q, steps]``: a constant is forecast as that constant; NaN where there is no forecast."""
    found = np.full((len(batch), len(levels), steps), np.nan)
    rows = []
    for row, series in enumerate(batch):
        known = series.values[~np.isnan(series.values)]
        if len(known) and (known == known[0]).all():
            found[row] = known[0]
        elif len(known):
            rows.append(row)
    for _ in range(2):  # without the series whose forecast was not finite
        if not rows:
            break
        contexts = [batch[row].values for row in rows]
        try:
            found[rows] = runtime.predict(contexts, steps, quantiles=levels, batch_size=len(rows)).quantiles
            break
        except NotFinite as error:
            rows = [row for place, row in enumerate(rows) if place not in error.rows]
    return found


def _rows(table: Table, batch: Sequence[Series], quantiles: np.ndarray) -> Iterator[list[Any]]:
    for series, own in zip(batch, quantiles, strict=True):
        for time, values in zip(texts_ahead(table, series, own.shape[1]), own.T.tolist(), strict=True):
            yield [series.name, time, *("" if np.isnan(value) else f"{value:.9g}" for value in values)]


@contextmanager
def _written(output: Path | None) -> Iterator[Any]:
    """Standard output, or a file that replaces ``output`` at the end."""
    if output is None:
        yield sys.stdout
        return
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        with open(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, output)
    except OSError as error:
        raise ExportError(
            f"--output {output}: cannot be written ({error.strerror or error}); choose another place."
        ) from None
    finally:
        Path(name).unlink(missing_ok=True) if name else None


def _summarise(given: argparse.Namespace, table: Table, without: Sequence[str]) -> None:
    """What was read, repaired and written, on standard error."""
    notes = list(table.notes)
    if without:
        notes.append(f"{len(without):,} series have no forecast, such as {without[0]}: no values, or too large ones")
    for note in notes:
        print(f"potstill-runtime: {note}", file=sys.stderr)
    target = f" -> {given.output}" if given.output else ""
    print(f"potstill-runtime: {given.data}: {len(table.series):,} series{target}", file=sys.stderr)
