"""The files of a run folder as the report reads them: absent ones are empty, broken ones are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from potstill.errors import UserError


def read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UserError(f"{path.parent}: is a file; give the folder of a run.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); evaluate the run again.") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file, empty where there is no file; anything else in it is the user's to mend."""
    text = read_text(path)
    if text is None:
        return {}
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} line {error.lineno}: not valid JSON; evaluate the run again to write it anew."
        ) from None
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected an object, found a {type(tree).__name__}; evaluate the run again.")
    return tree


def read_log(path: Path) -> list[dict[str, Any]]:
    """The log's lines; one that a kill tore is passed over."""
    lines = []
    for text in (read_text(path) or "").split("\n"):
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines
