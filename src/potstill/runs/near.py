"""Folders with a name like one that does not exist, for messages."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

_MOST = 3
_NEAR = 0.6  # difflib's ratio of two names


def near_folders(path: Path, wanted: Callable[[Path], bool], least: float = _NEAR) -> list[str]:
    """Existing paths that differ from a path in one or more misspelt names, the most similar first; at most three.

    Parameters
    ----------
    path
        A path that does not exist.
    wanted
        Which folders count.
    least
        The least similarity of a misspelt name, between 0 and 1.
    """
    found = [Path(path.anchor)]
    for name in path.parts[1:] if path.anchor else path.parts:
        found = [match for folder in found for match in _matches(folder, name, least)]
    return [str(match) for match in found if wanted(match)][:_MOST]


def did_you_mean(near: list[str]) -> str:
    """``; did you mean runs/demo?`` for a message; empty without any."""
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _matches(folder: Path, name: str, least: float) -> list[Path]:
    """What a name stands for in a folder: itself, or the names that are like it."""
    if name in (".", "..") or (folder / name).exists():
        return [folder / name]
    try:
        names = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
    lower = {one.lower(): one for one in reversed(names)}
    return [folder / lower[near] for near in difflib.get_close_matches(name.lower(), lower, n=_MOST, cutoff=least)]
