"""Write a file that belongs behind a URL: locally first, then it is copied."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from potstill.errors import UserError
from potstill.remote.copies import upload
from potstill.remote.urls import name_of


@contextmanager
def uploaded(url: str) -> Iterator[Path]:
    """A local path to write to; the file is copied to the URL if the block ends without an error.

    Raises
    ------
    UserError
        If it cannot be copied; the local file is then kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="potstill-"))
    place, kept = folder / name_of(url), False
    try:
        yield place
        try:
            upload(place, url)
        except (UserError, FileNotFoundError) as error:
            kept = True
            what = str(error) if isinstance(error, UserError) else f"{url}: there is no such place."
            raise UserError(f"{what} The finished file is kept as {place}.", key="url.not_uploaded") from None
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
