"""The user's data files: find them in directories, name their data sets, and report read errors as usage errors."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from potstill.data.data_report import DataReport
from potstill.data.remote_files import local_copy
from potstill.errors import UserError
from potstill.recipe.reading import EMPTY_PATH
from potstill.remote.urls import is_url


@dataclass
class DataSource:
    """A data file and the name of its data set."""

    path: Path
    name: str


def choose_files(
    paths: Sequence[str],
    expand: Callable[[str], list[Path]],
    endings: Sequence[str],
    exclude: Sequence[str],
    max_files: int | None,
    report: DataReport,
) -> list[DataSource]:
    """List the files of ``paths``, each once, without excluded files and at most ``max_files`` of them.

    Files behind URLs are copied first. A data set is named by its file's stem. If two files share a stem, the name is
    the path below the given directory.

    Parameters
    ----------
    paths, exclude, max_files
        As in a recipe's ``data``.
    expand
        Maps an entry of ``paths`` to its files.
    endings
        File name endings that are not part of a data set's name.
    report
        Counts the files that are left out.

    Raises
    ------
    UserError
        A path cannot be read, or every file is excluded.
    """
    paths = [local_copy(entry, endings) if is_url(entry) else entry for entry in paths]
    by_target: dict[Path, tuple[Path, str]] = {}
    unusable: list[UserError] = []
    for entry in paths:
        if not entry.strip():
            raise UserError(f"data.paths: {EMPTY_PATH}", key="data.empty_path")
        root = Path(os.path.expanduser(entry))
        if root.exists() and not root.is_file() and not root.is_dir():  # reading it may wait for ever
            raise UserError(
                f"{entry}: is a pipe or a device; write its content into a file and name that.",
                key="data.not_a_regular_file",
            )
        try:
            files = expand(entry)
        except OSError as error:
            raise UserError(
                f"{entry}: cannot be read ({error.strerror}); check its permissions.", key="data.unreadable_file"
            ) from None
        for path in files:
            fault = _fault(path)
            if fault is not None:
                report.add_dropped(_shown(path), str(fault), kind="files")
                unusable.append(UserError(f"{_shown(path)}: {fault}.", key=fault.key))
                continue
            inside = path != root and path.is_relative_to(root)
            relative = path.relative_to(root).as_posix() if inside else path.absolute().name
            by_target.setdefault(path.resolve(), (path, stem_of(relative, endings)))
    relative_names = dict(by_target.values())
    stems = {path: stem_of(path.absolute().name, endings) for path in relative_names}
    kept = [path for path in relative_names if not {stems[path], relative_names[path]} & set(exclude)]
    for name in exclude:
        if name not in stems.values() and name not in relative_names.values():
            report.add_note(f"exclude: no file is named {name!r}")
    for path in sorted(relative_names.keys() - set(kept)):
        report.add_dropped(stems[path], "excluded", kind="files")
    if max_files is not None and len(kept) > max_files:
        report.add_dropped(stems[kept[max_files]], f"beyond max_files = {max_files}", "files", len(kept) - max_files)
        kept = kept[:max_files]
    if not kept and unusable:
        raise unusable[0]
    if not kept:
        raise UserError(
            f"{', '.join(map(str, paths))}: every file is excluded; shorten data.exclude.", key="data.all_excluded"
        )
    return _named(kept, stems, relative_names)


def files_of(source: DataSource) -> list[DataSource]:
    """The files that the fingerprint covers: the file, or all files in the folder of a saved data set."""
    if not source.path.is_dir():
        return [source]
    files = sorted(p for p in source.path.iterdir() if p.is_file())
    return [DataSource(p, f"{source.name}/{p.name}") for p in files]


def stem_of(name: str, endings: Sequence[str]) -> str:
    """A file name without its ending (``ETTm1.csv.gz`` → ``ETTm1``)."""
    ending = next((e for e in sorted(endings, key=len, reverse=True) if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def _fault(path: Path) -> UserError | None:
    """Why a file cannot be used whatever it contains; None for a usable one."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # such bytes cannot be printed, nor written to a report
        return UserError("the name is not UTF-8; rename it", key="data.name_not_utf8")
    if not path.exists():
        return UserError("the link leads to no file; remove it", key="data.no_such_file")
    if not path.is_file() and not path.is_dir():
        return UserError("is a pipe or a device; write its content into a file", key="data.not_a_regular_file")
    return None


def _shown(path: Path) -> str:
    r"""A path as text, also one whose bytes are not UTF-8: ``a\xff.csv``."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return repr(os.fsencode(path))[2:-1]
    return str(path)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn errors of the operating system while a file is read into a UserError."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check --data.", key="data.no_such_file") from None
    except MemoryError:
        raise UserError(
            f"{path}: does not fit into memory; split it into several files.", key="data.file_too_large"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions.", key="data.unreadable_file"
        ) from None


def _named(kept: list[Path], stems: dict[Path, str], relative: dict[Path, str]) -> list[DataSource]:
    counts = Counter(stems[path] for path in kept)
    used: Counter[str] = Counter()
    sources = []
    for path in kept:
        name = stems[path] if counts[stems[path]] == 1 else relative[path]
        used[name] += 1
        sources.append(DataSource(path, name if used[name] == 1 else f"{name}~{used[name]}"))
    return sources
