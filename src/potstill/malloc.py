"""Memory of this process: how much it uses, and how freed memory is returned to the system."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def resident(field: str = "RssAnon") -> int | None:
    """A field of ``/proc/self/status`` in KiB (default: all memory but mapped files); None on systems without it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)


def release() -> None:
    """Return freed memory to the system, pages between used blocks included; does nothing without glibc."""
    if os.name == "posix":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
