"""The tiny GPT-2, loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from potstill.families.language.model import LanguageModel
from potstill.families.load import load_language


@pytest.fixture
def gpt2(gpt2_folder: Path) -> LanguageModel:
    return load_language(gpt2_folder).freeze()
