"""What outside packages import: the names are there, and the documents and the example use no other module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from potstill import plugins

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / "adding-a-family.md", *(ROOT / "examples").glob("potstill-*/**/*.py")]


def test_every_public_name_is_there():
    assert plugins.__all__ == sorted(plugins.__all__)
    assert all(hasattr(plugins, name) for name in plugins.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_plug_ins_import_the_public_names_alone(page: Path):
    imported = re.findall(r"^\s*from (potstill\S*) import (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    for module, names in imported:
        assert module == "potstill.plugins"
        assert {name.strip() for name in names.split(",")} <= set(plugins.__all__)
