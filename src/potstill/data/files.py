"""The user's files: found in trees, named by data set, opened with a sentence for whatever stands in the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from potstill.data.data_report import DataReport
from potstill.errors import UserError


@dataclass
class Source:
    """One file of the user's and the name its data set goes by."""

    path: Path
    name: str


def choose_files(
    paths: Sequence[str],
    expand: Callable[[str], list[Path]],
    endings: Sequence[str],
    exclude: Sequence[str],
    max_files: int | None,
    report: DataReport,
) -> list[Source]:
    """The files behind ``paths``, each once, without those excluded and those beyond ``max_files``.

    A data set goes by its file's stem; where two files share one, by the path below the directory given.

    Parameters
    ----------
    paths, exclude, max_files
        As in a recipe's ``data``.
    expand
        From a path as it was given to the files there.
    endings
        What is no part of a name.
    report
        Told what is left out.

    Raises
    ------
    UserError
        A path that cannot be read, nothing left.
    """
    once: dict[Path, tuple[Path, str]] = {}
    for entry in paths:
        given = Path(entry).expanduser()
        try:
            files = expand(entry)
        except OSError as error:
            raise UserError(f"{entry}: cannot be read ({error.strerror}); check its permissions.") from None
        for path in files:
            inside = path != given and path.is_relative_to(given)
            relative = path.relative_to(given).as_posix() if inside else path.absolute().name
            once.setdefault(path.resolve(), (path, stem_of(relative, endings)))
    found = dict(once.values())
    stems = {path: stem_of(path.absolute().name, endings) for path in found}
    kept = [path for path in found if not {stems[path], found[path]} & set(exclude)]
    for name in exclude:
        if name not in stems.values() and name not in found.values():
            report.add_note(f"exclude: no file is named {name!r}")
    for path in sorted(found.keys() - set(kept)):
        report.add_dropped(stems[path], "excluded", kind="files")
    if max_files is not None and len(kept) > max_files:
        report.add_dropped(stems[kept[max_files]], f"beyond max_files = {max_files}", "files", len(kept) - max_files)
        kept = kept[:max_files]
    if not kept:
        raise UserError(f"{', '.join(map(str, paths))}: every file is excluded; shorten data.exclude.")
    return _named(kept, stems, found)


def stem_of(name: str, endings: Sequence[str]) -> str:
    """A file name without its ending (``ETTm1.csv.gz`` → ``ETTm1``)."""
    ending = next((e for e in sorted(endings, key=len, reverse=True) if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What the system may say while a file is read, as a UserError of one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check --data.") from None
    except MemoryError:
        raise UserError(f"{path}: does not fit into memory; split it into several files.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check its permissions.") from None


def _named(kept: list[Path], stems: dict[Path, str], relative: dict[Path, str]) -> list[Source]:
    counts = Counter(stems[path] for path in kept)
    used: Counter[str] = Counter()
    sources = []
    for path in kept:
        name = stems[path] if counts[stems[path]] == 1 else relative[path]
        used[name] += 1
        sources.append(Source(path, name if used[name] == 1 else f"{name}~{used[name]}"))
    return sources
