"""Watch the columns of a table while its blocks are read, for cells that may change what the first rows decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from potstill.data.series.blocks.times import first_failing
from potstill.data.series.number_witnesses import FormatWitnesses
from potstill.data.series.numbers import numeric
from potstill.data.series.sheet import Sheet

if TYPE_CHECKING:
    import pyarrow as pa


class Contradiction(Exception):
    """A row of a block does not fit the decision; it is in the sample when the file is read again.

    Parameters
    ----------
    row
        Its number in the block.
    column
        The column, if it is text that was read as plain numbers.
    """

    def __init__(self, row: int, column: str = ""):
        super().__init__(row, column)
        self.row, self.column = row, column


@dataclass
class ColumnWatch:
    """One column, watched block by block.

    Attributes
    ----------
    name, plain
        The column, and whether its text is read as plain numbers, as far as is known.
    counter
        Whether it may have row numbers.
    filled, unreadable
        Cells with a value, and those of them that are no numbers.
    counts_up
        Whether each number is one more than the one before.
    """

    name: str
    plain: bool = True
    counter: bool = False
    filled: int = 0
    unreadable: int = 0
    counts_up: bool = True
    last: float = np.nan
    whole: bool = True
    formats: FormatWitnesses = field(default_factory=FormatWitnesses)

    def witnesses(self, sheet: Sheet) -> list[int]:
        """The rows of a block that decide something for the first time."""
        cells = sheet.table[self.name]
        rows: list[int] = []
        if not self.filled and cells.null_count < len(cells):
            rows.append(int(np.argmax(np.asarray(cells.is_valid()))))
        self.filled += len(cells) - cells.null_count
        rows += self._of_text(sheet, cells)
        if self.counter:
            rows += self._of_counter(numeric(sheet, self.name)[0])
        return rows

    def _of_text(self, sheet: Sheet, cells: pa.ChunkedArray) -> list[int]:
        import pyarrow as pa

        if not pa.types.is_string(cells.type):
            return []
        if not self.plain:
            self.unreadable += len(numeric(sheet, self.name)[1])
            return self.formats.marked(cells)
        row = first_failing(cells, lambda part: part.cast(pa.float64()))
        if row is not None:
            raise Contradiction(row, self.name)
        return self.formats.plain(cells)

    def _of_counter(self, values: np.ndarray) -> list[int]:
        rows: list[int] = []
        odd = ~(np.isfinite(values) & (values == np.rint(values)))
        if self.whole and odd.any():
            self.whole = False
            rows.append(int(np.argmax(odd)))
        steps = np.diff(values, prepend=self.last)
        steps[0] = 1 if np.isnan(self.last) and not odd[0] else steps[0]
        self.last = values[-1]
        breaks = steps != 1
        if self.counts_up and breaks.any():
            self.counts_up = False
            row = int(np.argmax(breaks))
            rows += [max(row - 1, 0), row]  # a break between two blocks is seen in the sample, which has other gaps too
        return rows
