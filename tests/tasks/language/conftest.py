"""A GPT-2 made here, Alpaca records with three that are none, and a recipe of six steps on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_gpt2 import save_gpt2

from potstill.recipe import Recipe

WORDS = ["two", "and", "four", "course", "answer", "🙂", "write", "Größe"]


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("teacher"), positions=256)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixty Alpaca records and three that are none."""
    records: list = [
        {
            "instruction": f"What is {WORDS[i % 8]} and {i}?",
            "input": "",
            "output": f"{WORDS[(i + 1) % 8]}, of course, {i}.",
        }
        for i in range(60)
    ]
    records += [{"instruction": "no answer", "output": ""}, {"other": 1}, 7]
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


@pytest.fixture
def recipe(gpt2_folder: Path, data: Path) -> Recipe:
    tree = {
        "task": "language",
        "teacher": [str(gpt2_folder)],
        "student": "gpt2:n_layer=1,n_embd=16,n_head=2",
        "data": {"paths": [str(data)], "max_length": 200},
        "training": {"max_steps": 6, "batch_size": 4, "eval_steps": 3, "eval_windows": 5, "precision": "fp32"},
    }
    return Recipe.lay_over(tree, {})
