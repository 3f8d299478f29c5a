"""Run folders and atomic writes: what is on disk is always the last good one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from potstill.errors import UserError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write beside ``path``, flush to disk, rename over it: a kill or a full disk leaves the old file whole."""
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
    """Let ``fill`` write a folder aside, then put it in the place of ``path`` by renaming."""
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        aside.chmod(0o755)
        fill(aside)
        _sync(aside)
        old = _aside(path)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        aside.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def last_good(path: Path) -> Path:
    """The folder, or where a kill inside ``write_folder(path)`` left the last good one.

    For readers: nothing is moved, because the writer may be at work.
    """
    return _aside(path) if _aside(path).is_dir() and not path.exists() else path


def clear_up(path: Path) -> None:
    """Undo what a kill inside ``write_folder(path)`` left: put the last good folder back, remove the half-written."""
    if last_good(path) != path:
        _aside(path).rename(path)
    for left_over in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(left_over, ignore_errors=True)


def open_run(output: str | Path, resume: bool) -> Path:
    """Make the run's folder; one that holds a run already is an error unless it is resumed."""
    run = check_run(output, resume)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{run}: the folder cannot be made ({error.strerror}); choose another --output.") from None
    return run


def check_run(output: str | Path, resume: bool) -> Path:
    """Whether a run may go there, before anything is made."""
    run = Path(output)
    standing = next(path for path in (run, *run.absolute().parents) if path.exists())
    if standing.is_file():
        raise UserError(f"{run}: {standing} is a file; --output needs a folder that does not exist yet.")
    if resume and not (run / "recipe.yaml").exists():
        raise UserError(f"{run}: holds no run to resume (no recipe.yaml); start it without --resume.")
    if not resume and run.exists() and any(run.iterdir()):
        raise UserError(f"{run}: exists already; continue it with --resume or choose another --output.")
    return run


def run_of(model: str | Path) -> Path | None:
    """The run that a model's folder is, or is the student or control of; None for any other model."""
    folder = last_good(Path(model).expanduser())
    found = (
        run for run in (folder, folder.parent) if (run / "recipe.yaml").is_file() and (run / "log.jsonl").is_file()
    )
    return next(found, None) if folder.is_dir() else None


def _aside(path: Path) -> Path:
    """Where the old folder stands between the two renames."""
    return path.with_name(f".{path.name}.old")


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)  # some writers leave them to their owner alone
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
