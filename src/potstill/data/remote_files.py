"""Data behind URLs: copied into the cache once for each version, and read from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from potstill.data.cache import cache_folder, open_or_build
from potstill.errors import UserError
from potstill.remote.copies import download, fingerprint, listing
from potstill.remote.urls import name_of

_METADATA = ("state.json", "dataset_info.json", "dataset_dict.json")  # of a saved data set


def local_copy(url: str, endings: Sequence[str]) -> str:
    """The path of a copy of the file, or of the files with these endings in the folder, at a URL.

    Names, sizes and versions (ETags, times) of the files decide whether an earlier copy is used.

    Raises
    ------
    UserError
        If there is nothing at the URL, or it cannot be read.
    """
    try:
        files = listing(url, lambda name: name.lower().endswith(tuple(endings)) or name.endswith(_METADATA))
    except FileNotFoundError:
        raise UserError(f"{url}: no such file or folder; check --data.", key="data.no_such_file") from None
    if not files:
        raise UserError(
            f"{url}: the folder has no {', '.join(endings)} files; name a folder with data.", key="data.no_data_files"
        )
    single = len(files) == 1 and files[0].name == name_of(url)

    def load(folder: Path) -> Path | None:
        return folder / name_of(url) if folder.is_dir() else None

    def build(folder: Path) -> None:
        download(url, files, folder if single else folder / name_of(url))

    cache = cache_folder(None) / "downloads"
    return str(open_or_build(cache, fingerprint(url, files), load, build))
