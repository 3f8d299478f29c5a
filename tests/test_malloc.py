"""The resident memory that is measured, and freed memory that is returned to the system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from potstill import malloc

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc and glibc")


@linux
def test_a_block_in_use_is_held() -> None:
    before = malloc.resident()
    block = torch.ones(32 * 2**20)  # 128 MiB
    after = malloc.resident()
    assert before is not None
    assert after is not None
    assert 100_000 < after - before < 200_000
    assert len(block)
    malloc.release()


@linux
def test_a_field_that_is_not_told_is_none() -> None:
    assert malloc.resident("NoSuchField") is None


def test_without_proc_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert malloc.resident() is None
