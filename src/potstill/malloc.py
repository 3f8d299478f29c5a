"""Memory of this process: what it holds, and how what it freed is given back to the system."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def resident(field: str = "RssAnon") -> int | None:
    """KiB of a field of ``/proc/self/status`` (default: all but mapped files); None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)


def release() -> None:
    """Give back what was freed, the pages between blocks in use as well; with another C library than glibc: nothing."""
    if os.name == "posix":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
