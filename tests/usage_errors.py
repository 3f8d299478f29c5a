"""What tests expect of a usage error: its key, which is stable, and not its wording, which may change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from potstill.errors import UserError


@contextmanager
def usage_error(key: str, *parts: str) -> Iterator[pytest.ExceptionInfo[UserError]]:
    """Expect a UserError of that key.

    ``parts`` are facts that the sentence must name, such as a file, a row or a column.
    """
    with pytest.raises(UserError) as caught:
        yield caught
    message = str(caught.value)
    assert caught.value.key == key, f"{caught.value.key}: {message}"
    assert "\n" not in message
    for part in parts:
        assert part in message, f"{part!r} is not in: {message}"
