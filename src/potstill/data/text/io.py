"""Read files as bytes or text, and the record type that all readers return."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from potstill.errors import UserError

BOM = b"\xef\xbb\xbf"
BROKEN_GZIP = (gzip.BadGzipFile, EOFError, zlib.error)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass
class Record:
    """One record: its place in the file (``line 17``), and its fields, or the fault that makes it unreadable."""

    place: str
    fields: dict[str, Any]
    fault: str = ""


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, uncompressed."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def text_of(path: Path) -> str:
    """A whole file's text, without byte order mark.

    Raises
    ------
    UserError
        The file is empty or not UTF-8.
    """
    with open_bytes(path) as file:
        data = file.read()
    refuse_utf16(path, data)
    data = data.removeprefix(BOM)
    if not data.strip():
        raise UserError(f"{path}: is empty; leave the file out or add data.", key="data.empty_file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path} line {line}: is not UTF-8; save the file as UTF-8.", key="data.not_utf8") from None


def refuse_utf16(path: Path, data: bytes) -> None:
    """Raise UserError if a byte order mark shows that the file is UTF-16."""
    if data.startswith(_UTF16):
        raise UserError(f"{path}: is UTF-16; save the file as UTF-8.", key="data.not_utf8")
