"""The marked blocks of the runtime's README run as they stand, beside a model and a file of sales."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import potstill.runtime
from potstill.runtime.cli import main

PACKAGE = Path(__file__).parents[2] / "packages" / "potstill-runtime"
BLOCK = re.compile(r"<!-- tested -->\n```(\w+)\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall((PACKAGE / "README.md").read_text(encoding="utf-8"))


@pytest.fixture
def place(exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(exported("chronos2").folder, tmp_path / "model")
    days = "".join(f"2024-01-{day:02d},{100 + day % 7}\n" for day in range(1, 31))
    (tmp_path / "sales.csv").write_text("date,sold\n" + days)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "potstill_runtime", potstill.runtime)
    (block,) = (body for language, body in BLOCKS if language == "python")
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["forecast"].quantiles.shape == (1, 13, 12)
    assert names["forecast"].mean.shape == (1, 12)
    assert names["several"].quantiles.shape == (2, 3, 12)


def test_commands(place: Path, capsys: pytest.CaptureFixture[str]):
    (block,) = (body for language, body in BLOCKS if language == "bash")
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "potstill-runtime"
        assert main(arguments) == 0, capsys.readouterr().err
    header, first, *rest = (place / "next.csv").read_text().splitlines()
    assert header == "unique_id,date,q0.1,q0.5,q0.9"
    assert first.startswith("sold,2024-01-31,")
    assert len(rest) == 13


def test_the_licence_is_that_of_the_repository():
    assert (PACKAGE / "LICENSE").read_bytes() == (PACKAGE.parents[1] / "LICENSE").read_bytes()
