"""The blocks of docs/adapters.md run one after another, as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

for library in ("fev", "gluonts", "sktime"):
    pytest.importorskip(library, reason=f"{library} is in the extra adapters")

TEXT = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- tested -->\n```python\n(.*?)```", TEXT, re.DOTALL)


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/adapters.md", "exec"), names)
    assert len(BLOCKS) == TEXT.count("```python")
    printed = capsys.readouterr().out
    assert "a 2024-04-30" in printed  # the first day after the table
    assert "Student-hi-90" in printed
