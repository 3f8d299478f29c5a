"""``inspect``: what a model says about itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_gpt2 import save_gpt2
from usage_errors import usage_error

import potstill


def test_of_a_forecaster(tiny_teacher: Path, tiny_bolt: Path):
    found = potstill.inspect(str(tiny_teacher))
    model = potstill.load(tiny_teacher)
    assert found["family"] == "chronos2"
    assert found["parameters"] == model.parameters == sum(found["parts"].values())
    assert found["bytes"] == 4 * found["parameters"]
    assert (found["layers"], found["width"], found["heads"]) == (2, 32, 2)
    assert found["signals"] == found["group_signals"] == ["attention", "forecast", "hidden", "qkv"]
    assert (found["context_length"], found["prediction_length"], found["patch"]) == (64, 32, 16)
    assert found["levels"][0] == 0.01
    assert found["calibrate_horizons"] == 0
    assert found["fingerprint"] == model.fingerprint
    assert "group_signals" not in potstill.inspect(str(tiny_bolt))


def test_of_a_language_model(tmp_path: Path):
    found = potstill.inspect(str(save_gpt2(tmp_path)))
    assert (found["family"], found["architecture"]) == ("language", "gpt2")
    assert (found["layers"], found["width"], found["heads"]) == (2, 32, 2)
    assert found["signals"] == ["attention", "hidden", "logits", "qkv"]
    assert (found["vocabulary"], found["max_length"]) == (300, 64)
    assert "active_parameters" not in found


def test_of_what_each_start_of_a_student_keeps(tiny_teacher: Path, small_csv: Path):
    plain = potstill.inspect(str(tiny_teacher))
    options = {"student": "num_layers=2,d_model=32,d_ff=64,num_heads=2", "data": small_csv}
    found = potstill.inspect(str(tiny_teacher), **options, seed=1)
    assert found["fingerprint"] == plain["fingerprint"]
    assert found["student"] == {
        "family": "chronos2",
        "parameters": plain["parameters"],
        "share": 1.0,
        "start": "teacher",
        "kept": "The student is cut from its teacher: all 2 layers",
    }
    errors = found["errors"]
    assert (errors["metric"], errors["windows"]) == ("rel_naive", 40)
    whole = [errors[f"start: {start}"] for start in ("copy", "importance", "teacher")]
    assert whole == pytest.approx([errors["teacher"]] * 3, rel=2e-3)  # the teacher computes in bf16
    assert errors["start: random"] != errors["teacher"]


def test_a_start_that_is_not_possible_is_explained(tiny_teacher: Path, small_csv: Path):
    found = potstill.inspect(str(tiny_teacher), student="linear", data=small_csv)
    assert found["student"]["start"] == "random"
    assert found["student"]["because"] == "linear models do not describe their weights"
    assert "cannot be cut from tiny" in found["errors"]["start: teacher"]
    assert "linear cannot start from a teacher's weights" in found["errors"]["start: copy"]
    assert found["errors"]["start: random"] > 0


def test_of_a_language_students_starts(tmp_path: Path):
    teacher = save_gpt2(tmp_path / "teacher", positions=512)
    records = [{"instruction": f"Count to {i}.", "input": "", "output": "One, two."} for i in range(40)]
    (tmp_path / "alpaca.json").write_text(json.dumps(records))
    options = {"student": "n_embd=16,n_head=1", "data": tmp_path / "alpaca.json"}
    errors = potstill.inspect(str(teacher), **options)["errors"]
    assert errors["metric"] == "loss"
    assert abs(errors["start: teacher"] - errors["teacher"]) < abs(errors["start: random"] - errors["teacher"])
    with usage_error("data.no_paths", "--data"):
        potstill.inspect(str(teacher), student="n_embd=16,n_head=1")
