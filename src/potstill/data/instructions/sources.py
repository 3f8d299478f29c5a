"""Files of instructions, found in trees: JSON, JSONL, CSV, Parquet, plain text, and data sets saved by ``datasets``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from potstill.data.account import Account
from potstill.data.readers import Source
from potstill.errors import UserError

PLAIN = (".jsonl", ".json", ".csv", ".txt")
ENDINGS = (*PLAIN, *(f"{ending}.gz" for ending in PLAIN), ".parquet")
_SAVED = "state.json"  # what `Dataset.save_to_disk` leaves in each folder of rows
_KINDS = ".json, .jsonl, .csv, .txt (plain or .gz), .parquet"


def find_sources(paths: Sequence[str], exclude: Sequence[str], max_files: int | None, account: Account) -> list[Source]:
    """The files behind ``paths``: files and saved data sets as given, directories searched recursively, sorted.

    A file goes by its name without ending; where two share one, by the path below the directory given.

    Raises
    ------
    UserError
        A path that does not exist, a directory without such files, an ending that no reader knows, nothing left.
    """
    if not paths:
        raise UserError(f"No data given; name files ({_KINDS}) or directories with --data or data.paths.")
    once: dict[Path, tuple[Path, str]] = {}
    for entry in paths:
        try:
            found = _expand(Path(entry).expanduser())
        except OSError as error:
            raise UserError(f"{entry}: cannot be read ({error.strerror}); check its permissions.") from None
        for path, relative in found:
            once.setdefault(path.resolve(), (path, relative))
    files = dict(once.values())
    left_out = {path for path in files if {_stem(path.name), files[path]} & set(exclude)}
    kept = [path for path in files if path not in left_out]
    for name in exclude:
        if all(name not in (_stem(path.name), files[path]) for path in files):
            account.add_note(f"exclude: no file is named {name!r}")
    for path in sorted(left_out):
        account.add_dropped(_stem(path.name), "excluded", kind="files")
    if max_files is not None and len(kept) > max_files:
        first = _stem(kept[max_files].name)
        account.add_dropped(first, f"beyond max_files = {max_files}", "files", len(kept) - max_files)
        kept = kept[:max_files]
    if not kept:
        raise UserError(f"{', '.join(map(str, paths))}: every file is excluded; shorten data.exclude.")
    return _named(kept, files)


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


def _expand(path: Path) -> list[tuple[Path, str]]:
    if path.is_file():
        if ending_of(path) is None:
            raise UserError(f"{path}: expected a file ending in {_KINDS}, or a directory of such files.")
        return [(path, _stem(path.name))]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or directory; check --data.")
    saved = {p.parent for p in path.rglob(_SAVED)}
    if path in saved:
        return [(path, path.absolute().name)]
    within = [p for p in path.rglob("*") if ending_of(p) and p.is_file() and not p.name.startswith(".")]
    # the JSON files that a saved data set (or a dictionary of such) keeps beside its rows hold no records
    files = [p for p in within if p.parent not in saved and p.name != "dataset_dict.json"]
    if not files and not saved:
        raise UserError(f"{path}: the directory holds no {_KINDS} files; name one that does.")
    return [(p, _stem(p.relative_to(path).as_posix())) for p in sorted([*files, *saved])]


def _stem(name: str) -> str:
    ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def _named(kept: list[Path], relative: dict[Path, str]) -> list[Source]:
    counts = Counter(_stem(path.name) for path in kept)
    used: Counter[str] = Counter()
    sources = []
    for path in kept:
        name = _stem(path.name) if counts[_stem(path.name)] == 1 else relative[path]
        used[name] += 1
        sources.append(Source(path, name if used[name] == 1 else f"{name}~{used[name]}"))
    return sources
