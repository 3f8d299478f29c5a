"""Verbs that only write down how they were called, verbs that fail, and the program's exit code."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

import potstill
from potstill.cli import main


@pytest.fixture
def leave() -> Callable[..., int]:
    """Runs the command line in this process and gives its exit code."""

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        return left.value.code  # type: ignore

    return run


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list:
    """What the verbs were called with: [(verb, arguments, keywords)]."""
    seen: list = []
    fake: Any = types.ModuleType("potstill.verbs")
    for verb in ("distill", "mix", "label", "evaluate", "forecast", "report"):
        setattr(fake, verb, lambda *a, _verb=verb, **k: seen.append((_verb, a, k)))
    fake.inspect = lambda model, recipe=None: {"family": "chronos2", "parameters": 1234567, "kept": {"layers": [0, 3]}}
    _install(monkeypatch, fake)
    return seen


@pytest.fixture
def fail_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes ``potstill report`` raise an error."""

    def install(error: BaseException) -> None:
        fake = types.ModuleType("potstill.verbs")

        def report(run: str) -> None:
            raise error

        fake.report = report  # type: ignore
        _install(monkeypatch, fake)

    return install


def _install(monkeypatch: pytest.MonkeyPatch, fake: types.ModuleType) -> None:
    monkeypatch.setitem(sys.modules, "potstill.verbs", fake)
    monkeypatch.setattr(potstill, "verbs", fake, raising=False)
