"""Find data files, and read each into a table: its ending decides the format."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from potstill.data.data_report import DataReport
from potstill.data.embedded import embedded_file
from potstill.data.files import DataSource, choose_files, readable
from potstill.data.series.arrow_files import SAVED_INFO, SAVED_STATE, read_arrow, read_parquet, read_saved
from potstill.data.series.csv_files import read_csv
from potstill.data.series.hub import hub_folder
from potstill.data.series.sheet import Sheet
from potstill.errors import UserError
from potstill.recipe.notation import is_embedded, is_hub_data

TABLE_ENDINGS = (".csv", ".csv.gz", ".parquet", ".arrow", ".feather")


def find_sources(
    paths: Sequence[str], exclude: Sequence[str], max_files: int | None, report: DataReport
) -> list[DataSource]:
    """List the files of ``paths``: directories are searched recursively in sorted order; ``embedded`` is the data set
    that is included in Potstill.

    Raises
    ------
    UserError
        A path does not exist, a directory has no data files, or a file ending is unknown.
    """
    if not paths:
        raise UserError(
            "No data given; name CSV, Parquet or Arrow files or directories with --data or data.paths.",
            key="data.no_paths",
        )
    return choose_files(paths, _expand, TABLE_ENDINGS, exclude, max_files, report)


def read_sheet(path: Path, report: DataReport, name: str) -> Sheet:
    """Read a whole file, or the folder of a saved data set.

    Raises
    ------
    UserError
        The file is unreadable, empty or binary, has only a header, or every row has a wrong number of columns.
    """
    with readable(path):
        return (read_saved if path.is_dir() else _READERS[_ending(path)])(path, report, name)


def _expand(entry: str) -> list[Path]:
    path = embedded_file(entry) if is_embedded(entry) else Path(os.path.expanduser(entry))
    if path.is_file():
        if _ending(path) is None:
            raise UserError(
                f"{path}: expected a file ending in {', '.join(TABLE_ENDINGS)} or a directory of such files.",
                key="data.unknown_ending",
            )
        return [path]
    if not path.exists() and is_hub_data(entry):
        path = hub_folder(entry, TABLE_ENDINGS)
    if not path.is_dir():
        raise UserError(f"{path}: no such file or directory; check --data.", key="data.no_such_file")
    saved = {p.parent for p in path.rglob(SAVED_INFO) if (p.parent / SAVED_STATE).is_file()}
    if path in saved:
        return [path]
    within = [p for p in path.rglob("*") if _ending(p) and not p.is_dir() and not p.name.startswith(".")]
    files = sorted([*(p for p in within if p.parent not in saved), *saved])
    if not files:
        raise UserError(
            f"{path}: the directory has no {', '.join(TABLE_ENDINGS)} files; name a directory with data.",
            key="data.no_data_files",
        )
    return files


def _ending(path: Path) -> str | None:
    return next((e for e in TABLE_ENDINGS if path.name.lower().endswith(e)), None)


_READERS: dict[str | None, Callable[[Path, DataReport, str], Sheet]] = {
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
}
