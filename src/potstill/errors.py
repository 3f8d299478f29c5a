"""Exceptions for usage errors: the command line prints the message and exits with code 2."""

from __future__ import annotations

import re

_KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


class UserError(Exception):
    """Bad input or options.

    Parameters
    ----------
    message
        One clear sentence: where, what was expected, what to do. Its wording may change.
    key
        Identifies the error, such as ``data.no_such_file``. Keys are stable, so programs and tests can rely on them.
    """

    #: the key of a subclass unless another one is given
    key: str = "usage.error"

    def __init__(self, message: str, *, key: str | None = None):
        super().__init__(message)
        self.key = key or type(self).key
        assert _KEY.fullmatch(self.key), f"a key has the form data.no_such_file, not {self.key!r}"

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args, self.__dict__)


class UnknownName(UserError):
    """An unknown name; the message lists the known names and the closest match."""

    def __init__(self, kind: str, name: str, known: list[str]):
        import difflib

        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(
            f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(known))}.",
            key=f"names.unknown_{kind.replace(' ', '_')}",
        )


class NotFinite(UserError):
    """A model's forecasts are NaN or infinite; ``rows`` are the indices of these windows in the input."""

    key = "model.forecast_not_finite"

    def __init__(self, model: str, rows: list[int], count: int):
        self.rows = rows
        super().__init__(
            f"{model}: its forecast of {len(rows)} of {count} series is NaN or infinite (the first is number"
            f" {rows[0] + 1}); the model is broken, or the values are too large for it."
        )


def _restored(kind: type[UserError], args: tuple[object, ...], state: dict[str, object]) -> UserError:
    """Restore an exception from another process without calling its constructor."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
