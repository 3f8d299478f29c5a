"""Run folders and atomic writes: the version on disk is always the last complete one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.runs.near import did_you_mean, near_folders
from potstill.runtime.folder import is_exported

RECIPE_FILE = "recipe.yaml"
METRICS_FILE = "metrics.json"  # written when a run has ended
#: errors of a full disk, an exhausted quota or a limit of the size of files
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
GENERAL = "general"  # a run within the run of a mixture, whose student its experts branch from


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a temporary file next to ``path`` and rename it: a kill or a full disk leaves the old file unchanged."""
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, tree: Any) -> None:
    """Write JSON atomically; NaN and infinity become null, so that every parser reads it."""
    write_atomically(path, json.dumps(_finite(tree), indent=1, ensure_ascii=False) + "\n")


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Call ``fill`` with a temporary folder, then rename it to ``path``."""
    temporary = begin_folder(path)
    try:
        fill(temporary)
        put_in_place(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def begin_folder(path: Path) -> Path:
    """A new empty folder next to ``path``, to be filled and then passed to :func:`put_in_place`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    temporary.chmod(0o755)
    return temporary


def put_in_place(temporary: Path, path: Path) -> None:
    """Flush a filled folder to disk and rename it to ``path``; an existing folder is replaced."""
    _sync(temporary)
    old = _old_folder(path)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    temporary.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def last_good(path: Path) -> Path:
    """The folder, or the place of its last complete version after a kill inside ``write_folder(path)``.

    For readers: nothing is moved, because another process may be writing.
    """
    return _old_folder(path) if _old_folder(path).is_dir() and not path.exists() else path


def clear_up(path: Path) -> None:
    """Clean up after a kill inside ``write_folder(path)``: restore the last complete folder, remove partial ones."""
    if last_good(path) != path:
        _old_folder(path).rename(path)
    for left_over in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(left_over, ignore_errors=True)


def open_run(output: str | Path, resume: bool) -> Path:
    """Create the run's folder; a folder that already holds a run is an error unless the run is resumed."""
    run = check_run(output, resume)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{run}: the folder cannot be created ({error.strerror}); choose another --output.",
            key="output.not_writable",
        ) from None
    return run


@contextmanager
def writing_into(run: Path) -> Iterator[None]:
    """Turn the errors of a full disk, or of a run's folder that is removed while the run goes on, into UserError."""
    try:
        yield
    except Exception as error:
        if not run.is_dir():
            raise UserError(
                f"{run}: the folder was removed while the run wrote into it; start the run again.",
                key="output.removed",
            ) from error
        if _is_full(error):
            raise UserError(
                f"{run}: the disk is full, or its quota or a limit of file sizes reached; free some space and continue"
                " the run with --resume.",
                key="output.disk_full",
            ) from error
        raise


def _is_full(error: Exception) -> bool:
    """Whether an error is that of a full disk: an OSError, or what torch and safetensors make of it."""
    if isinstance(error, OSError):
        return error.errno in FULL
    text = str(error)
    return (
        "No space left on device" in text
        or "File too large" in text
        or ("inline_container" in text and "unexpected pos" in text)
    )


def output_path(output: str | Path) -> Path:
    """The place that an output names; ``~`` is the home folder, which shells leave alone in ``--output=~/run``."""
    return Path(os.path.expanduser(output))


def check_run(output: str | Path, resume: bool) -> Path:
    """Check that a run can use this folder, without creating it."""
    run = output_path(output)
    existing = next(path for path in (run, *run.absolute().parents) if path.exists())
    if existing.is_file():
        raise UserError(
            f"{run}: {existing} is a file; --output needs a folder that does not exist yet.", key="output.is_a_file"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{run}: {existing} cannot be written to; choose another --output.", key="output.not_writable")
    if resume and not (run / RECIPE_FILE).exists():
        raise UserError(f"{run}: holds no run to resume (no recipe.yaml){_hint(run)}", key="run.not_found")
    if not resume and run.exists() and any(path.name != GENERAL for path in run.iterdir()):
        raise UserError(
            f"{run}: already exists; continue the run with --resume or choose another --output.", key="run.exists"
        )
    return run


def holds_model(folder: Path) -> bool:
    """Whether a folder holds a model or a run."""
    return (folder / "config.json").is_file() or (folder / RECIPE_FILE).is_file() or is_exported(folder)


def _hint(run: Path) -> str:
    near = [] if run.exists() else near_folders(run, lambda folder: (folder / RECIPE_FILE).is_file())
    return did_you_mean(near) or "; start one without --resume."


def run_of(model: str | Path) -> Path | None:
    """The run folder that a model's folder is or belongs to (as student or control); None for other models."""
    folder = last_good(Path(os.path.expanduser(model)))
    runs = (run for run in (folder, folder.parent) if (run / RECIPE_FILE).is_file() and (run / "log.jsonl").is_file())
    return next(runs, None) if folder.is_dir() else None


def _old_folder(path: Path) -> Path:
    """The path of the old folder between the two renames; ``path`` itself for the root, which has no name."""
    path = path if path.name else path.absolute()  # the name of `.`
    return path.with_name(f".{path.name}.old") if path.name else path


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)  # some libraries create files that only their owner can read
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {str(k): _finite(v) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_finite(v) for v in tree]
    if hasattr(tree, "item") and getattr(tree, "size", 1) == 1:
        tree = tree.item()
    if isinstance(tree, float) and (tree != tree or tree in (float("inf"), float("-inf"))):
        return None
    return tree
