"""The cells that decide how the numbers of a large column of text are written, found block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from potstill.data._arrow import arrow_functions
from potstill.data.series.amounts import (
    LONG,
    SPACED,
    THREES,
    amounts_of,
    count_marks,
    grouped_pattern,
    patterns,
    proven_marks,
)
from potstill.data.series.number_format import number_format
from potstill.data.series.sheet import NumberFormat, Sheet

if TYPE_CHECKING:
    import pyarrow as pa


def is_single_mark(sheet: Sheet, column: str) -> bool:
    """Whether all amounts of a column of text may have thousands or decimals, so that all rows decide."""
    import pyarrow as pa

    cells = sheet.table[column]
    if not pa.types.is_string(cells.type) or (number_format(sheet, column) == NumberFormat()):
        return False
    body = arrow_functions().struct_field(amounts_of(cells), "body")
    marks = {mark: count_marks(body, mark) for mark in ".,"}
    return not proven_marks(marks) and any(marks[mark].single for mark in marks)


class FormatWitnesses:
    """Finds the first cells of a column of text that decide how its numbers are written, block by block."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._dotted: set[str] = set()

    def plain(self, cells: pa.ChunkedArray) -> list[int]:
        """The first cells with a point, for a block whose cells are all plain numbers."""
        pc = arrow_functions()

        if len(self._dotted) == 2:
            return []
        dotted = pc.match_substring(cells, ".")
        other = pc.and_(dotted, pc.invert(pc.match_substring_regex(cells, THREES)))
        return self._new(self._dotted, {"dotted": dotted, "other": other})

    def marked(self, cells: pa.ChunkedArray) -> list[int]:
        """The first cells of each kind of amount, and the first that is no amount."""
        pc = arrow_functions()

        amounts = amounts_of(cells)
        body, percent = (pc.struct_field(amounts, group) for group in ("body", "percent"))
        masks: dict[str, Any] = {"none": pc.and_(body.is_null(), cells.is_valid())}
        for mark in ".,":
            single, several, either = (pc.match_substring_regex(body, pattern) for pattern in patterns(mark))
            masks |= {f"single {mark}": single, f"several {mark}": several}
            masks[f"decimal {mark}"] = pc.and_(either, pc.invert(single))
            masks[f"grouped {mark}"] = pc.match_substring_regex(body, grouped_pattern(mark))
        masks |= {"long": pc.match_substring_regex(body, LONG), "percent": pc.equal(percent, "%")}
        masks["no percent"] = pc.and_(pc.not_equal(percent, "%"), body.is_valid())
        masks["spaces"] = pc.match_substring_regex(body, SPACED)
        for group in ("open", "trailing", "close"):
            masks[group] = pc.not_equal(pc.struct_field(amounts, group), "")
        for group in ("before", "after"):
            signs = pc.struct_field(amounts, group)
            masks |= {f"{group} {sign}": pc.equal(signs, sign) for sign in pc.unique(signs).to_pylist() if sign}
        return self._new(self._found, masks)

    @staticmethod
    def _new(found: set[str], masks: dict[str, Any]) -> list[int]:
        rows = []
        for key in [key for key in masks if key not in found]:
            row = arrow_functions().index(masks[key], True).as_py()
            if row >= 0:
                found.add(key)
                rows.append(row)
        return rows
