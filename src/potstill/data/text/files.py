"""Find text data files: JSON, JSONL, CSV, Parquet, plain text, and data sets saved by ``datasets``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from potstill.data.data_report import DataReport
from potstill.data.files import DataSource, choose_files
from potstill.errors import UserError

PLAIN_ENDINGS = (".jsonl", ".json", ".csv", ".txt")
TEXT_ENDINGS = (*PLAIN_ENDINGS, *(f"{ending}.gz" for ending in PLAIN_ENDINGS), ".parquet")
_SAVED = "state.json"  # `Dataset.save_to_disk` writes it into each folder of rows
_KINDS = ".json, .jsonl, .csv, .txt (plain or .gz), .parquet"


def find_sources(
    paths: Sequence[str], exclude: Sequence[str], max_files: int | None, report: DataReport
) -> list[DataSource]:
    """List the files and saved data sets of ``paths``; directories are searched recursively in sorted order.

    Raises
    ------
    UserError
        A path does not exist, a directory has no such files, a file ending is unknown, or every file is excluded.
    """
    if not paths:
        raise UserError(
            f"No data given; name files ({_KINDS}) or directories with --data or data.paths.", key="data.no_paths"
        )
    return choose_files(paths, _expand, TEXT_ENDINGS, exclude, max_files, report)


def ending_of(path: Path) -> str | None:
    """The known ending of a file, without ``.gz``; None for any other file."""
    ending = next((e for e in TEXT_ENDINGS if path.name.lower().endswith(e)), None)
    return ending and ending.removesuffix(".gz")


def _expand(entry: str) -> list[Path]:
    path = Path(os.path.expanduser(entry))
    if path.is_file():
        if ending_of(path) is None:
            raise UserError(
                f"{path}: expected a file ending in {_KINDS}, or a directory of such files.", key="data.unknown_ending"
            )
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or directory; check --data.", key="data.no_such_file")
    saved = {p.parent for p in path.rglob(_SAVED)}
    if path in saved:
        return [path]
    within = [p for p in path.rglob("*") if ending_of(p) and not p.is_dir() and not p.name.startswith(".")]
    # the JSON files of a saved data set (or a dictionary of such) are metadata, not records
    files = [p for p in within if p.parent not in saved and p.name != "dataset_dict.json"]
    if not files and not saved:
        raise UserError(
            f"{path}: the directory has no {_KINDS} files; name a directory with data.", key="data.no_data_files"
        )
    return sorted([*files, *saved])
