"""A flat .npy file that is written in pieces and memory-mapped when read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class GrowingArray:
    """Appends to a one-dimensional .npy file; ``close`` writes its length into the header."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.size = 0
        self._file = path.open("wb")
        self._header()

    def append(self, values: np.ndarray) -> None:
        """Add the values at the end."""
        self._file.write(np.ascontiguousarray(values, self.dtype).tobytes())
        self.size += len(values)

    def close(self) -> None:
        """Finish the file."""
        self._file.seek(0)
        self._header()
        self._file.close()

    def _header(self) -> None:
        # NumPy pads headers, so that a longer first axis needs no more bytes
        form = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.size,)}
        np.lib.format.write_array_header_1_0(self._file, form)
