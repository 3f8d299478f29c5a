"""Amounts in text: patterns of digits, marks and signs, and how often cells use a mark in which way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from potstill.data._arrow import arrow_functions

if TYPE_CHECKING:
    import pyarrow as pa

_CURRENCY = (
    r"(?:R\$|[$€£¥₹₽₩₺₪฿]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|kr\.?|zł|Kč)"
)
SPACES = "[ \u00a0\u2009\u202f'’]"  # thousands marks that are no decimal marks
# an amount in digits, and the signs around it
_AMOUNT = (
    r"^(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<before>" + _CURRENCY + r")?\s*(?P<inner>[+-])?\s*"
    r"(?P<body>[\d.,](?:[\d.,]|" + SPACES + r"\d)*(?:[eE][+-]?\d+)?|(?i:inf|infinity))\s*"
    r"(?P<after>" + _CURRENCY + r")?\s*(?P<percent>%)?\s*(?P<trailing>-)?\s*(?P<close>\))?$"
)
SMALL, LONG = r"^[1-9]\d{0,2}$", r"^\d{4,}$"  # whole numbers that need no thousands mark, and those without one
THREES = r"^\s*[+-]?[1-9]\d{0,2}\.\d{3}\s*$"  # numbers whose point may separate thousands
SPACED = rf"\d{SPACES}\d{{3}}"


class Marks(NamedTuple):
    """How many cells use a mark (``.`` or ``,``) in which way.

    ``single`` is ambiguous (``1.220``), ``several`` separates thousands (``1.220.500``, or ``1.220,5``), ``decimal``
    can only separate decimals (``0.220``, ``12.5``).
    """

    single: int
    several: int
    decimal: int


def amounts_of(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells split into the groups of ``_AMOUNT``; null where a cell is no amount."""
    pc = arrow_functions()

    cells = pc.utf8_trim_whitespace(pc.replace_substring(cells, "\u2212", "-"))
    return pc.extract_regex(cells, _AMOUNT)


def count_marks(body: pa.ChunkedArray, mark: str) -> Marks:
    """How the amounts use a mark."""
    pc = arrow_functions()

    single, several, either = (
        int(pc.sum(pc.match_substring_regex(body, pattern)).as_py() or 0) for pattern in patterns(mark)
    )
    return Marks(single, several, either - single)


def single_pattern(mark: str) -> str:
    """Amounts with one mark and three digits behind it."""
    return rf"^[1-9]\d{{0,2}}[{mark}]\d{{3}}$"


def grouped_pattern(mark: str) -> str:
    """Amounts in which the mark separates thousands."""
    return rf"^\d{{1,3}}([{mark}]\d{{2,3}})*[{mark}]\d{{3}}"


def patterns(mark: str) -> tuple[str, str, str]:
    """Amounts that use a mark in an ambiguous way, several times, and in a way that may separate decimals."""
    other = "," if mark == "." else "."
    several = rf"^\d{{1,3}}([{mark}]\d{{2,3}})+[{mark}]\d{{3}}$|{grouped_pattern(mark)}[{other}]\d*$"
    spaced = rf"^\d{{1,3}}(?:{SPACES}\d{{3}})+[{mark}]\d+$"
    return single_pattern(mark), several, rf"^\d*[{mark}]\d*([eE][+-]?\d+)?$|{spaced}"


def proven_marks(marks: dict[str, Marks]) -> set[str]:
    """The decimal marks that cells prove."""
    return {mark for mark in marks if marks[mark].decimal} | {
        "," if mark == "." else "." for mark in marks if marks[mark].several
    }


def first_match(body: pa.ChunkedArray, pattern: str) -> int:
    """The first row that a pattern matches, or -1."""
    pc = arrow_functions()

    rows = np.flatnonzero(np.asarray(pc.fill_null(pc.match_substring_regex(body, pattern), False)))
    return int(rows[0]) if len(rows) else -1
