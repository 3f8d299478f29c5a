"""A CSV file with a row for each time, of one or several series, as series with regular steps."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .errors import ExportError
from .times import Step, Times, is_time, read_times, step_of

IDS = ("unique_id", "id", "item_id", "series_id", "series")
TIMES = ("ds", "timestamp", "datetime", "date", "time")
TARGETS = ("y", "target", "value")
MISSING = {"", "na", "nan", "n/a", "null", "none"}
DELIMITERS = (",", ";", "\t")
MAX_FILLED = 10  # rows per row of the file: beyond that, missing rows mean a wrong step


@dataclass
class Series:
    """One series: its values ``[N]`` with NaN where missing, its step, and its last time as a number."""

    name: str
    values: np.ndarray
    step: Step | None = None
    last: int = 0


@dataclass
class Table:
    """The series of a file.

    Attributes
    ----------
    series
        In the order of the file.
    id_column, time_column
        Names of columns; the time column is None if there are no times, or no regular ones.
    times
        How times are written.
    notes
        What was ignored, sorted or filled, in sentences.
    """

    series: list[Series]
    id_column: str
    time_column: str | None
    times: Times | None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Columns:
    """Names of columns; None: found by their usual names."""

    id: str | None = None
    time: str | None = None
    target: str | None = None


def read_table(path: Path, columns: Columns) -> Table:
    """Read a CSV file.

    Raises
    ------
    ExportError
        If it cannot be read, columns are not found, or a cell is not what its column holds.
    """
    header, rows, lines = _cells(path)
    if not rows:
        raise ExportError(f"{path}: has no rows below its header; give at least one row with a value.")
    cells = dict(zip(header, zip(*rows, strict=True), strict=True))
    found = _found(path, cells, columns)
    values = _numbers(path, found.target or "", cells[found.target or ""], lines)
    names = list(cells[found.id]) if found.id else [found.target or ""] * len(rows)
    table = Table([], found.id or IDS[0], found.time, None)
    unused = [name for name in header if name not in (found.id, found.time, found.target)]
    if unused:
        table.notes.append(f"ignored the columns {', '.join(unused)}")
    places: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        places.setdefault(name, []).append(row)
    if found.time is None:
        table.series = [Series(name, values[own]) for name, own in places.items()]
        return table
    texts = [text.strip() for text in cells[found.time]]
    times = read_times(texts, lambda row: f"{path}, line {lines[row]}, column {found.time}")
    table.times = times
    ordered = [_ordered(path, name, np.array(own), times, found, lines) for name, own in places.items()]
    unsorted = sum(not np.array_equal(own, places[name]) for name, own in zip(places, ordered, strict=True))
    if unsorted:
        table.notes.append(f"sorted the rows of {unsorted:,} series by time")
    _regular(table, list(places), ordered, values)
    return table


def _cells(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows, and the line of each row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(DELIMITERS, key=first.count), strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            rows, lines = [], []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise ExportError(
                        f"{path}, line {reader.line_num}: has {len(row)} cells, and the header has {len(header)}; give"
                        " every row as many cells as the header."
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise ExportError(f"{path}: is not UTF-8 text ({error.reason}); save it as a CSV file in UTF-8.") from None
    except csv.Error as error:
        raise ExportError(f"{path}: is not a readable CSV file ({error}); save it again as CSV.") from None
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}); give a CSV file.") from None
    return header, rows, lines


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header or header == [""]:
        raise ExportError(f"{path}: is empty; give a CSV file with a header.")
    if all(_is_number(name) for name in header):
        raise ExportError(f"{path}: its first row holds numbers; add a header with the names of the columns.")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise ExportError(f"{path}: has several columns named {repeated[0]!r}; give each column a name of its own.")


def _found(path: Path, cells: dict[str, tuple[str, ...]], given: Columns) -> Columns:
    """The columns to read: those that were named, or those with usual names."""
    for option, name in (("--id-column", given.id), ("--time-column", given.time), ("--target", given.target)):
        if name is not None and name not in cells:
            raise ExportError(f"{option} {name}: {path} has the columns {', '.join(cells)}; name one of these.")
    named = {name for name in (given.id, given.time, given.target) if name is not None}
    if len(named) < sum(name is not None for name in (given.id, given.time, given.target)):
        raise ExportError("--id-column, --time-column, --target: name the same column; name a column once.")

    def usual(names: Sequence[str]) -> str | None:
        lower = {name.lower(): name for name in reversed(cells) if name not in named}
        return next((lower[name] for name in names if name in lower), None)

    ids, time = given.id or usual(IDS), given.time or usual(TIMES)
    target = given.target or usual(TARGETS)
    if time is None:
        others = (name for name in cells if name not in (ids, target))
        time = next((name for name in others if all(map(is_time, cells[name]))), None)
    if target is None:
        others = [name for name in cells if name not in (ids, time)]
        numeric = [name for name in others if all(_is_number(cell) or _is_missing(cell) for cell in cells[name])]
        if len(numeric) != 1:
            what = f"the numeric columns {', '.join(numeric)}" if numeric else "no column of numbers"
            raise ExportError(f"{path}: has {what}; name the column to forecast with --target.")
        target = numeric[0]
    unknown = [name for name in cells if name not in (ids, time, target) and not _is_number(cells[name][0])]
    if unknown and ids is None and time is None:
        raise ExportError(
            f"{path}: the column {unknown[0]} is neither used nor a number; if it tells series apart, name it with"
            " --id-column, and if it holds times, with --time-column."
        )
    return Columns(ids, time, target)


def _numbers(path: Path, column: str, cells: Sequence[str], lines: Sequence[int]) -> np.ndarray:
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if _is_number(cell):
            values[row] = float(cell)
        elif not _is_missing(cell):
            raise ExportError(
                f"{path}, line {lines[row]}, column {column}: {cell[:40]!r} is not a number; write numbers such as"
                " 1234.5, and leave the cell empty where a value is missing."
            )
    return values


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _ordered(path: Path, name: str, rows: np.ndarray, times: Times, found: Columns, lines: Sequence[int]) -> np.ndarray:
    """The rows of a series in the order of their times."""
    ordered = rows[np.argsort(times.numbers[rows], kind="stable")]
    numbers = times.numbers[ordered]
    same = np.flatnonzero(numbers[1:] == numbers[:-1])
    if len(same):
        first, second = (lines[int(ordered[same[0] + k])] for k in (0, 1))
        hint = "give each time once" if found.id else "name the column that tells series apart with --id-column"
        which = f" of {name}" if found.id else ""
        raise ExportError(f"{path}, lines {first} and {second}: have the same time{which}; {hint}.")
    return ordered


def _regular(table: Table, names: Sequence[str], rows: Sequence[np.ndarray], values: np.ndarray) -> None:
    """Give the table its series, with missing rows filled; without a time column if the times have no step."""
    assert table.times is not None
    numbers = [table.times.numbers[own] for own in rows]
    steps = [step_of(one, table.times.dated) for one in numbers]
    known = Counter(step for step in steps if step is not None)
    common = known.most_common(1)[0][0] if known else None
    steps = [common if step is None and len(one) < 2 else step for step, one in zip(steps, numbers, strict=True)]
    filled = 0
    for name, own, one, step in zip(names, rows, numbers, steps, strict=True):
        place = step.rows(one) if step else np.arange(len(one))
        if step and place[-1] >= MAX_FILLED * len(one) + MAX_FILLED:
            step, place = None, np.arange(len(one))
        grid = np.full(int(place[-1]) + 1, np.nan)
        grid[place] = values[own]
        filled += len(grid) - len(one)
        table.series.append(Series(name, grid, step, int(one[-1])))
    if filled:
        table.notes.append(f"filled {filled:,} missing rows between times with missing values")
    irregular = [series.name for series in table.series if series.step is None]
    if irregular:
        table.notes.append(
            f"{len(irregular):,} series have no regular times, such as {irregular[0]}: steps are numbered in place of"
            " times"
        )
        table.time_column = None
        table.series = [replace(series, step=None) for series in table.series]


def texts_ahead(table: Table, series: Series, steps: int) -> Iterator[str]:
    """The times of the steps after a series, or the numbers of the steps."""
    if table.times is None or series.step is None:
        return map(str, range(1, steps + 1))
    return map(table.times.write, series.step.ahead(series.last, steps).tolist())
