"""Training gives what it gave: every reference curve again, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest
from reference_curves import RECIPES, difference, extras, read_curve, run_curve


@pytest.mark.parametrize("name", RECIPES)
def test_training_follows_its_reference_curve(name: str, tmp_path: Path, quick_trainer: None):
    for module in extras(name):
        pytest.importorskip(module)
    found = difference(name, read_curve(name), run_curve(name, tmp_path))
    assert found is None, found
