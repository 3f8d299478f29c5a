"""URLs as paths. They are written into recipes and cards, so they must hold no secrets; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from potstill.errors import UserError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(path: object) -> bool:
    """Whether a path is a URL."""
    return isinstance(path, str) and _URL.match(path) is not None


def shown(url: str) -> str:
    """A URL for messages: without user, password, query and fragment."""
    protocol, _, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{protocol}://{host.rpartition('@')[2]}{slash}{path}"


def name_of(url: str) -> str:
    """The last part of a URL's path."""
    return PurePosixPath(url.partition("://")[2].rstrip("/")).name


def check_url(url: str) -> str:
    """The URL itself.

    Raises
    ------
    UserError
        If it holds credentials or a query, as signed URLs do.
    """
    if shown(url) != url:
        raise UserError(
            f"{shown(url)}: is given with a user, a password or a query, which would be written into the results; leave"
            " them out and give credentials as environment variables or in the configuration of the storage's client.",
            key="url.secret",
        )
    return url
