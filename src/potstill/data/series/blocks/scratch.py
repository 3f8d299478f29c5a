"""Columns of numbers on disk, eight bytes each, read and written without mapping files into memory."""

from __future__ import annotations

from collections.abc import Sequence
from io import BufferedRandom
from pathlib import Path

import numpy as np

_BYTES = 8


class BlockColumns:
    """C columns in blocks of rows, in the order in which they were appended."""

    def __init__(self, path: Path, columns: int):
        self.columns = columns
        self.bounds = [0]  # of the blocks, in rows
        self._file = path.open("w+b")

    def __len__(self) -> int:
        return self.bounds[-1]

    def append(self, columns: Sequence[np.ndarray]) -> None:
        """Add a block: C arrays of one length, int64 or float64."""
        self._file.seek(0, 2)
        for column in columns:
            self._file.write(np.ascontiguousarray(column).view(np.uint8).data)
        self.bounds.append(self.bounds[-1] + len(columns[0]))

    def ints(self, column: int, first: int, end: int) -> np.ndarray:
        """Rows ``first:end`` of a column of int64."""
        return self.floats(column, first, end).view(np.int64)

    def floats(self, column: int, first: int, end: int) -> np.ndarray:
        """Rows ``first:end`` of a column of float64."""
        found, block = np.empty(end - first), int(np.searchsorted(self.bounds, first, side="right")) - 1
        row = first
        while row < end:
            low, high = self.bounds[block], self.bounds[block + 1]
            place = low * self.columns + column * (high - low) + row - low
            until = min(high, end)
            _fill(self._file, found[row - first : until - first], place)
            row, block = until, block + 1
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FlatColumns:
    """C columns of N rows, each in one piece, written at any place."""

    def __init__(self, path: Path, columns: int, rows: int):
        self.rows = rows
        self._file = path.open("w+b")
        self._file.truncate(columns * rows * _BYTES)

    def __len__(self) -> int:
        return self.rows

    def put(self, column: int, first: int, values: np.ndarray) -> None:
        """Write rows from ``first`` on."""
        self._file.seek((column * self.rows + first) * _BYTES)
        self._file.write(np.ascontiguousarray(values).view(np.uint8).data)

    def ints(self, column: int, first: int, end: int) -> np.ndarray:
        """Rows ``first:end`` of a column of int64."""
        return self.floats(column, first, end).view(np.int64)

    def floats(self, column: int, first: int, end: int) -> np.ndarray:
        """Rows ``first:end`` of a column of float64."""
        found = np.empty(end - first)
        _fill(self._file, found, column * self.rows + first)
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class IntsOnDisk:
    """One column of int64 that reads like an array: its length, and slices of it."""

    def __init__(self, columns: BlockColumns, column: int):
        self._columns, self._column = columns, column

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self._columns.ints(self._column, int(rows.start), int(rows.stop))


def _fill(file: BufferedRandom, values: np.ndarray, place: int) -> None:
    """Read an array from element ``place`` of a file on."""
    file.seek(place * _BYTES)
    if file.readinto(values.view(np.uint8).data) != values.nbytes:
        raise OSError("a temporary file is shorter than expected")
