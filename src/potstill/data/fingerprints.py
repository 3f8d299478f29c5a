"""Fingerprints of data: sha256 over the content. A file is hashed again unless it is certainly unchanged."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.data.files import DataSource
from potstill.runs import write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

STORE_FORMAT = 1  # raise it when the same files give a different store
# ns: a file that changed this shortly before it was hashed may change again with the same time stamp
_SETTLED = 2_000_000_000


def of_files(sources: Sequence[DataSource], options: dict[str, Any], cache: Path) -> str:
    """sha256 over names, bytes and options; the files' location does not matter.

    ``cache`` keeps each file's hash with its size, inode, modification time and change time. A kept hash is used while
    all of these are equal, and only if both times were old when the file was hashed. A program cannot set back the
    change time.
    """
    hash_file = cache / "hashes.json"
    known = _load_hashes(hash_file)
    fresh = dict(known)
    parts = []
    for source in sources:
        try:
            digest = _digest(source.path, known, fresh)
        except OSError:
            digest = "unreadable"  # the reader reports the reason, and leaves the file out if others can be read
        parts.append([source.name, digest])
    if fresh != known:
        _save_hashes(hash_file, fresh)
    return _sha([STORE_FORMAT, parts, options])


def of_table(table: pa.Table, options: dict[str, Any]) -> str:
    """sha256 over a table's columns and options."""
    import pyarrow as pa

    digest = hashlib.sha256()

    class Sink:
        closed = False

        def write(self, data: Any) -> int:
            digest.update(data)
            return len(data)

        def flush(self) -> None:
            """There is no buffer."""

        def close(self) -> None:
            """Nothing to close."""

    table = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(Sink(), mode="w"), table.schema) as writer:
        writer.write_table(table)
    return _sha([STORE_FORMAT, digest.hexdigest(), options])


def with_choices(fingerprint: str, choices: list[list[str]]) -> str:
    """Add to a fingerprint how ambiguous data was read, such as the order of day and month."""
    return _sha([fingerprint, choices]) if choices else fingerprint


def of_layout(fingerprint: str, layout: int) -> str:
    """The cache key of data: with the layout version, entries of an older version are not found."""
    return _sha([fingerprint, layout])


def _sha(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def _digest(path: Path, known: dict[str, list[Any]], fresh: dict[str, list[Any]]) -> str:
    now = time.time_ns()
    status = path.stat()
    state = [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
    key = str(path.absolute())
    if known.get(key, [None])[:-1] == state:
        return known[key][-1]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if max(status.st_mtime_ns, status.st_ctime_ns) < now - _SETTLED:
        fresh[key] = [*state, digest]
    return digest


def _load_hashes(hash_file: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(hash_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _save_hashes(hash_file: Path, fresh: dict[str, list[Any]]) -> None:
    try:
        hash_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(hash_file, json.dumps(fresh))
    except OSError:
        pass  # the hashes only save time; building the store reports what is wrong with the folder
