"""What the data is, as a number: sha256 over the bytes, rehashed unless a file certainly is the one hashed before."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.data.files import Source
from potstill.runs import write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1  # of the store; raise it when the same files would give another store
_SETTLED = (
    2_000_000_000  # ns: a file touched later than this before it was hashed may change again within one clock tick
)


def of_files(sources: Sequence[Source], options: dict[str, Any], cache: Path) -> str:
    """sha256 over names, bytes and options; where the files lie does not matter.

    A file's hash is remembered in ``cache`` with its size, inode, modification and change time, and is taken from there
    while all of these stand and were old when it was hashed; the change time cannot be set back by a program.
    """
    memory = cache / "hashes.json"
    known = _remembered(memory)
    fresh = dict(known)
    parts = []
    for source in sources:
        try:
            digest = _digest(source.path, known, fresh)
        except OSError:
            digest = "unreadable"  # reading it says why, and leaves it out where others can be read
        parts.append([source.name, digest])
    if fresh != known:
        _remember(memory, fresh)
    return _sha([FORMAT, parts, options])


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
            """Nothing is held back."""

        def close(self) -> None:
            """Nothing to close."""

    table = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(Sink(), mode="w"), table.schema) as writer:
        writer.write_table(table)
    return _sha([FORMAT, digest.hexdigest(), options])


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


def _remembered(memory: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(memory: Path, fresh: dict[str, list[Any]]) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, json.dumps(fresh))
    except OSError:
        pass  # only time is lost; building the store says what is wrong with the folder
