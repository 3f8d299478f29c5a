"""``inspect``: what a model says about itself."""

from __future__ import annotations

from pathlib import Path

from tiny_gpt2 import save_gpt2

import potstill


def test_of_a_forecaster(tiny_teacher: Path, tiny_bolt: Path):
    found = potstill.inspect(str(tiny_teacher))
    model = potstill.load(tiny_teacher)
    assert found["family"] == "chronos2"
    assert found["parameters"] == model.parameters == sum(found["parts"].values())
    assert found["bytes"] == 4 * found["parameters"]
    assert (found["layers"], found["width"], found["heads"]) == (2, 32, 2)
    assert found["signals"] == found["group_signals"] == ["attention", "forecast", "hidden"]
    assert (found["context_length"], found["prediction_length"], found["patch"]) == (64, 32, 16)
    assert found["levels"][0] == 0.01
    assert found["fingerprint"] == model.fingerprint
    assert "group_signals" not in potstill.inspect(str(tiny_bolt))


def test_of_a_language_model(tmp_path: Path):
    found = potstill.inspect(str(save_gpt2(tmp_path)))
    assert (found["family"], found["architecture"]) == ("language", "gpt2")
    assert (found["layers"], found["width"], found["heads"]) == (2, 32, 2)
    assert found["signals"] == ["attention", "hidden", "logits"]
    assert (found["vocabulary"], found["max_length"]) == (300, 64)
    assert "active_parameters" not in found
