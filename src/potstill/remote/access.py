"""Open URLs with fsspec; errors become one sentence that never repeats what a library says, which may hold secrets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from potstill.errors import UserError
from potstill.remote.urls import check_url, shown

# names of exceptions: the libraries that raise them are not installed everywhere
_DENIED = {"PermissionError", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"}


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it; made again for every use, because it cannot cross a fork.

    Raises
    ------
    UserError
        For an unknown protocol, a package that is missing, and a URL with secrets.
    """
    import fsspec
    from fsspec.registry import known_implementations

    protocol = check_url(url).partition("://")[0]
    try:
        system, path = fsspec.url_to_fs(url)
        system.invalidate_cache()  # listings are kept for as long as the process lives
        return system, path
    except ImportError:
        implementation = known_implementations[protocol]["class"].partition(".")[0]
        package = "the package that fsspec names" if implementation == "fsspec" else implementation
        raise UserError(
            f"{url}: needs a package for {protocol}://; run pip install {package}.", key="url.missing_package"
        ) from None
    except ValueError:
        raise UserError(
            f"{url}: {protocol}:// is unknown; use s3://, gs://, abfs:// or another protocol of fsspec.",
            key="url.unknown_protocol",
        ) from None


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn errors of storage into a UserError; FileNotFoundError passes.

    Raises
    ------
    UserError
        If access is denied, or the storage cannot be reached.
    """
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:
        raise _explained(url, error) from None


def _explained(url: str, error: BaseException) -> UserError:
    names = set()
    reason: BaseException | None = error
    while reason is not None:
        names.add(type(reason).__name__)
        reason = reason.__cause__
    if names & _DENIED:
        return UserError(
            f"{shown(url)}: access is denied; check the credentials (for s3:// AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or a profile) and that they may read, list and write there.",
            key="url.denied",
        )
    return UserError(
        f"{shown(url)}: cannot be reached ({type(error).__name__}); check the address, the network and, for another"
        " server than the public one, AWS_ENDPOINT_URL.",
        key="url.unreachable",
    )
