"""One process at a time writes into a run's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from potstill.errors import UserError

try:
    import fcntl
except ImportError:  # on Windows there is no lock
    fcntl = None

_held: set[int] = set()  # descriptors


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process, however it ends.

    Raises
    ------
    UserError
        If another process holds it.
    """
    if fcntl is None:
        yield
        return
    folder = os.open(run, os.O_RDONLY)
    _held.add(folder)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{run}: another process is writing this run; wait until it ends, or choose another --output.",
                    key="run.in_use",
                ) from None
        yield
    finally:
        if folder in _held:  # not in a forked process
            _held.remove(folder)
            os.close(folder)


def _leave_to_parent() -> None:
    """In a forked process, such as one that loads data: it would hold the lock after its parent was killed."""
    for folder in _held:
        os.close(folder)
    _held.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_leave_to_parent)
