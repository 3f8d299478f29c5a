"""The data sets of the package: ``embedded`` is ETTh1, ``embedded/NAME`` another one."""

from __future__ import annotations

from pathlib import Path

from potstill.errors import UserError

FOLDER = Path(__file__).parents[1] / "assets" / "data"
DEFAULT_SET = "ETTh1"


def embedded_file(entry: str) -> Path:
    """The file that ``embedded`` or ``embedded/NAME`` names.

    Raises
    ------
    UserError
        If the package has no data set of that name; the message lists the known ones.
    """
    path = FOLDER / f"{entry.partition('/')[2] or DEFAULT_SET}.csv"
    if not path.is_file():
        known = ", ".join(f"embedded/{file.stem}" for file in sorted(FOLDER.glob("*.csv")))
        raise UserError(f"{entry}: the package has no such data set; known: {known}.", key="data.no_such_embedded_set")
    return path
