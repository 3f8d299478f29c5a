"""Files of instructions, found in trees: JSON, JSONL, CSV, Parquet, plain text, and data sets saved by ``datasets``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from potstill.data.data_report import DataReport
from potstill.data.files import Source, choose_files
from potstill.errors import UserError

PLAIN = (".jsonl", ".json", ".csv", ".txt")
ENDINGS = (*PLAIN, *(f"{ending}.gz" for ending in PLAIN), ".parquet")
_SAVED = "state.json"  # what `Dataset.save_to_disk` leaves in each folder of rows
_KINDS = ".json, .jsonl, .csv, .txt (plain or .gz), .parquet"


def find_sources(
    paths: Sequence[str], exclude: Sequence[str], max_files: int | None, report: DataReport
) -> list[Source]:
    """The files behind ``paths``: files and saved data sets as given, directories searched recursively, sorted.

    Raises
    ------
    UserError
        A path that does not exist, a directory without such files, an ending that no reader knows, nothing left.
    """
    if not paths:
        raise UserError(f"No data given; name files ({_KINDS}) or directories with --data or data.paths.")
    return choose_files(paths, _expand, ENDINGS, exclude, max_files, report)


def files_of(source: Source) -> list[Source]:
    """The file itself; of a saved data set, the files in its folder: what its fingerprint is taken of."""
    if not source.path.is_dir():
        return [source]
    files = sorted(p for p in source.path.iterdir() if p.is_file())
    return [Source(p, f"{source.name}/{p.name}") for p in files]


def ending_of(path: Path) -> str | None:
    """The ending that a reader knows, without ``.gz``; None for any other file."""
    ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), None)
    return ending and ending.removesuffix(".gz")


def _expand(entry: str) -> list[Path]:
    path = Path(entry).expanduser()
    if path.is_file():
        if ending_of(path) is None:
            raise UserError(f"{path}: expected a file ending in {_KINDS}, or a directory of such files.")
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or directory; check --data.")
    saved = {p.parent for p in path.rglob(_SAVED)}
    if path in saved:
        return [path]
    within = [p for p in path.rglob("*") if ending_of(p) and p.is_file() and not p.name.startswith(".")]
    # the JSON files that a saved data set (or a dictionary of such) keeps beside its rows hold no records
    files = [p for p in within if p.parent not in saved and p.name != "dataset_dict.json"]
    if not files and not saved:
        raise UserError(f"{path}: the directory holds no {_KINDS} files; name one that does.")
    return sorted([*files, *saved])
