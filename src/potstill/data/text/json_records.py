"""Read records of JSON files: an array of objects, one object per line, or an object that contains an array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from potstill.data.text.io import BOM, BROKEN_GZIP, Record, open_bytes, refuse_utf16, text_of
from potstill.data.text.layouts import detect
from potstill.errors import UserError

_ARRAYS = ("data", "train", "examples", "records", "rows", "instances")  # keys that usually contain the records


def read_json(path: Path) -> Iterator[Record]:
    """The records of a JSON file: an array, an array under a key, or a single record."""
    text = text_of(path)
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):  # one object per line in a .json file
            yield from read_lines(path)
            return
        if error.msg == "Extra data":
            raise UserError(
                f"{path} line {error.lineno}: the array ends here and more text follows; write one array of records,"
                " or one object per line.",
                key="data.unreadable_json",
            ) from None
        raise UserError(
            f"{path} line {error.lineno}: is not valid JSON ({error.msg}); expected an array of records.",
            key="data.unreadable_json",
        ) from None
    except (ValueError, RecursionError):
        raise UserError(
            f"{path}: is not readable JSON; expected an array of records.", key="data.unreadable_json"
        ) from None
    del text
    for number, item in enumerate(_array(tree, path), 1):
        yield _record(f"record {number}", item)


def read_lines(path: Path) -> Iterator[Record]:
    """The records of a JSON Lines file; the file is not read into memory as a whole."""
    number, blank = 0, True
    try:
        with open_bytes(path) as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    refuse_utf16(path, line)
                    line = line.removeprefix(BOM)
                if blank and line.lstrip().startswith(b"["):  # a JSON array in a .jsonl file
                    yield from read_json(path)
                    return
                if line.strip():
                    blank = False
                    yield _parsed(f"line {number}", line)
    except BROKEN_GZIP:
        if blank:
            raise
        yield Record(f"line {number + 1}", {}, "the gzip file is truncated")
    if blank:
        raise UserError(f"{path}: is empty; leave the file out or add data.", key="data.empty_file")


def _parsed(place: str, line: bytes) -> Record:
    try:
        return _record(place, json.loads(line.decode("utf-8")))
    except UnicodeDecodeError:
        return Record(place, {}, "not UTF-8")
    except (ValueError, RecursionError):
        return Record(place, {}, "not valid JSON")


def _record(place: str, item: Any) -> Record:
    return Record(place, item) if isinstance(item, dict) else Record(place, {}, "not a JSON object")


def _array(tree: Any, path: Path) -> list[Any]:
    if isinstance(tree, dict) and detect([tree]):
        return [tree]
    if isinstance(tree, dict):
        keys = sorted(tree, key=lambda key: _ARRAYS.index(key) if key in _ARRAYS else len(_ARRAYS))
        tree = next((tree[key] for key in keys if isinstance(tree[key], list) and tree[key]), None)
    if not isinstance(tree, list):
        raise UserError(
            f'{path}: contains no array of records; expected [{{…}}, {{…}}] or {{"data": [{{…}}]}}.',
            key="data.no_records",
        )
    return tree
