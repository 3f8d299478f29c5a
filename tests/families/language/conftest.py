"""The tiny GPT-2 of ``tiny_gpt2``, saved to disk and loaded back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_gpt2 import save_gpt2

from potstill.families.language.load import load_language
from potstill.families.language.model import LanguageModel


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def gpt2(gpt2_folder: Path) -> LanguageModel:
    return load_language(gpt2_folder).freeze()
