"""Reads the files of a run folder. An absent file is empty; an invalid one raises UserError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from potstill.errors import UserError


def read_text(path: Path) -> str | None:
    """The text of a file; None if there is no file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UserError(f"{path.parent}: is a file; give the folder of a run.", key="report.not_a_folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); evaluate the run again.", key="report.unreadable_file"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty if there is no file; raises UserError for anything else."""
    text = read_text(path)
    if text is None:
        return {}
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} line {error.lineno}: not valid JSON; evaluate the run again.", key="report.invalid_json"
        ) from None
    if not isinstance(tree, dict):
        raise UserError(
            f"{path}: expected an object, found a {type(tree).__name__}; evaluate the run again.",
            key="report.not_an_object",
        )
    return tree


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of the log; an incomplete line of a killed run is skipped."""
    lines = []
    for text in (read_text(path) or "").split("\n"):
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines
