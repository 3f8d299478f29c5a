"""The recipes to copy: each one reads, and the one over a tree of files plans what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_gpt2 import save_gpt2

import potstill
from potstill.families.registry import known
from potstill.objectives.objective import Objective
from potstill.recipe import Recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_reads(path: Path):
    recipe = Recipe.read(path)
    Objective(recipe.objective)
    assert recipe.student.family in ((None, "small") if recipe.task == "language" else (None, *known()))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three files of hourly data two folders deep, one of them with two columns, and two odd files."""
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=1200, freq="h")
    for name, columns in (("one/a", ["x"]), ("one/b", ["x", "y"]), ("two/c", ["x"])):
        path = tmp_path / "tree" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.sin(np.arange(1200) / 24 * 2 * np.pi)
        pd.DataFrame({"date": stamps, **{c: wave + rng.normal(size=1200) for c in columns}}).to_csv(path, index=False)
    (tmp_path / "tree" / "empty.csv").write_text("")
    (tmp_path / "tree" / "two" / "text.csv").write_text("date,name\n" + "2024-01-01,a\n" * 9)
    return tmp_path / "tree"


def test_moirai_720_96_over_a_tree_of_files(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("uni2ts")
    from uni2ts.distribution import LogNormalOutput, MixtureOutput, NormalFixedScaleOutput, StudentTOutput
    from uni2ts.model.moirai import MoiraiModule

    mixture = MixtureOutput([StudentTOutput(), NormalFixedScaleOutput(), LogNormalOutput()])
    MoiraiModule(mixture, 256, 4, (16, 32), 512, 0.0, 0.0).save_pretrained(tmp_path / "teacher")
    recipe = RECIPES / "moirai-720-96.yaml"
    given = Recipe.read(recipe)
    assert given.teacher[0].source == "Salesforce/moirai-1.1-R-base"
    training = given.training
    assert (training.learning_rate, training.batch_size, training.epochs, training.clip) == (1e-4, 32, 10, 1.0)
    assert (given.data.max_files, given.data.split, given.data.stride) == (100, "8:1:1", 1)

    potstill.distill(recipe, tmp_path / "run", teacher=tmp_path / "teacher", data=tree, device="cpu", dry_run=True)
    plan = " ".join(capsys.readouterr().err.split())
    windows = 4 * (960 - 720 - 96 + 1)
    assert f"3 data sets, 4 series; {windows} training and 100 validation windows of 720 → 96" in plan
    assert "empty.csv: is empty" in plan
    assert "text.csv: no numeric column" in plan
    assert "Student moirai" in plan
    assert f"Training {round(windows / 32 * 10)} steps of 32 windows" in plan
    assert "0.8 · expected_pinball, 0.2 · pinball" in plan


def test_gpt2_alpaca_runs_with_stand_ins(tmp_path: Path):
    """The recipe as it is, but for a teacher made here, a handful of records and a few steps."""
    recipe = RECIPES / "gpt2-alpaca.yaml"
    given = Recipe.read(recipe)
    assert given.teacher[0].source == "gpt2-medium"
    assert (given.objective.alpha, given.objective.temperature) == (0.5, 2.0)
    assert (given.training.learning_rate, given.training.batch_size) == (3e-4, 32)
    teacher = save_gpt2(tmp_path / "teacher", positions=512)
    records = [{"instruction": f"Count to {i}.", "input": "", "output": "One, two."} for i in range(40)]
    (tmp_path / "alpaca.json").write_text(json.dumps(records))
    short = {"training.max_steps": 1, "training.eval_windows": 4, "student.overrides": {"n_layer": 1, "n_embd": 16}}
    changed = Recipe.read(recipe, short)
    run = potstill.distill(changed, tmp_path / "run", teacher=teacher, data=tmp_path / "alpaca.json", device="cpu")
    assert json.loads((run / "metrics.json").read_text())["task"] == "language"
    written = Recipe.read(run / "recipe.yaml")
    assert (written.student.family, written.training.batch_size) == ("small", 32)
    answer = potstill.generate(str(run), "Count to 3.", max_new_tokens=4)
    assert isinstance(answer, str)
