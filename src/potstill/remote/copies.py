"""Copy files between URLs and this machine."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from potstill.console import progress_bar
from potstill.errors import UserError
from potstill.remote.access import filesystem, reaching
from potstill.remote.urls import name_of

_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "updated", "mtime", "created")
_AT_ONCE = 16  # files
_MEGABYTE = 2**20


@dataclass(frozen=True)
class RemoteFile:
    """A file behind a URL: its path in the file system and below the URL, its size, and what says its version."""

    path: str
    name: str
    size: int
    version: str


def listing(url: str, wanted: Callable[[str], bool]) -> list[RemoteFile]:
    """The file at a URL, or the wanted ones below it, sorted by name.

    Raises
    ------
    FileNotFoundError
        There is nothing at the URL.
    UserError
        It cannot be read.
    """
    system, path = filesystem(url)
    with reaching(url):
        info = system.info(path)
        if info["type"] != "directory":
            return [_file(info, path, name_of(url))]
        found = system.find(path, detail=True)
    root = path.rstrip("/") + "/"
    files = [_file(info, name, name.removeprefix(root)) for name, info in found.items()]
    return sorted((file for file in files if _visible(file.name) and wanted(file.name)), key=lambda file: file.name)


def fingerprint(url: str, files: Sequence[RemoteFile]) -> str:
    """sha256 over the URL, and the names, sizes and versions of its files."""
    parts = [url, *([file.name, file.size, file.version] for file in files)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def download(url: str, files: Sequence[RemoteFile], folder: Path) -> None:
    """Copy files of a listing into a folder; shows rate and time left."""
    system, _ = filesystem(url)
    total = sum(file.size for file in files)
    done = 0
    with progress_bar(f"Copying {url}", "MB") as advance:
        for first in range(0, len(files), _AT_ONCE):
            some = files[first : first + _AT_ONCE]
            places = [folder / file.name for file in some]
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
            with reaching(url):
                system.get([file.path for file in some], [str(place) for place in places])
            done += sum(file.size for file in some)
            advance(done // _MEGABYTE, total // _MEGABYTE, "")


def fetch(url: str, place: Path) -> None:
    """Copy one file to a place, atomically; raises FileNotFoundError if there is none."""
    system, path = filesystem(url)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with reaching(url):
            system.get_file(path, str(temporary))
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


def upload(place: Path, url: str) -> None:
    """Copy one file to a URL."""
    system, path = filesystem(url)
    with reaching(url):
        system.put_file(str(place), path)


def check_access(url: str) -> None:
    """Raise UserError if a file cannot be written to a URL, as far as reading its bucket or host tells."""
    system, path = filesystem(url)
    with reaching(url):
        try:
            system.info(path.strip("/").partition("/")[0])
        except FileNotFoundError:
            raise UserError(f"{url}: there is no such bucket; create it first.", key="url.no_bucket") from None


def _file(info: dict[str, Any], path: str, name: str) -> RemoteFile:
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), None)
    # without a version the copy is never used again
    return RemoteFile(path, name, int(info.get("size") or 0), version or f"unknown {time.time_ns()}")


def _visible(name: str) -> bool:
    return not any(part.startswith(".") for part in PurePosixPath(name).parts)
