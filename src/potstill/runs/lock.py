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
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{run}: another process is writing this run; wait for it, or choose another --output.",
                    key="run.in_use",
                ) from None
        yield
    finally:
        os.close(folder)
