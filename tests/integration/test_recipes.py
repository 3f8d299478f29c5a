"""The recipes to copy: each one reads, and the one over a tree of files plans what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_gpt2 import save_gpt2

import potstill
from potstill.families.registry import known
from potstill.objectives.objective import Objective
from potstill.recipe import Recipe
from potstill.tasks.prepare import prepare
from potstill.teaching.base import TrainingData

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_reads(path: Path):
    recipe = Recipe.read(path)
    Objective(recipe.objective)
    assert recipe.student.family in ((None, "small") if recipe.task == "language" else (None, *known()))


def test_chronos2_ett_on_one_of_its_files(shared_data: Path, tmp_path: Path, capsys):
    recipe = RECIPES / "chronos2-ett.yaml"
    given = Recipe.read(recipe)
    training = given.training
    assert given.teacher[0].source == "amazon/chronos-2"
    assert (training.learning_rate, training.batch_size, training.epochs) == (5e-5, 32, 10)
    etth1 = shared_data / "suite" / "ETTh1.csv"
    potstill.distill(recipe, tmp_path / "run", teacher="embedded", data=etth1, device="cpu", dry_run=True)
    plan = " ".join(capsys.readouterr().err.split())
    windows = 12 * 30 * 24 - 96 - 24 + 1
    assert f"1 data sets, 1 series; {windows:,} training and" in plan
    assert "validation windows of 96 → 24 (split ett)" in plan
    assert f"Training {round(windows / 32 * 10):,} steps of 32 windows" in plan


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


def small(data: Path, student: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The embedded teacher's recipes on small data: short windows, a narrow student, three steps of six windows."""
    return {
        "data.paths": [str(data)],
        "data.train_only": [],
        "data.context_length": 64,
        "data.prediction_length": 32,
        "data.device.pool": 40,
        "data.device.refresh": False,
        "data.device.workers": 0,
        "data.device.contexts": {32: 0.5, 64: 0.5},
        "data.device.horizons": {16: 0.5, 32: 0.5},
        "data.device.batch_context": 32,
        "student.overrides": student,
        "training.batch_size": 6,
        "training.max_steps": 3,
        "training.eval_steps": 3,
        "training.eval_windows": 10,
        "training.device": "cpu",
        "evaluation.max_windows": 10,
        **changes,
    }


@pytest.fixture(scope="module")
def teacher_run(small_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = Recipe.read(RECIPES / "teacher-embedded.yaml")
    sizes = {**given.student.overrides, "num_layers": 1, "d_model": 32, "d_ff": 32, "num_heads": 2, "d_kv": 16}
    recipe = Recipe.read(RECIPES / "teacher-embedded.yaml", small(small_csv, sizes))
    return potstill.distill(recipe, tmp_path_factory.mktemp("teacher") / "run")


def test_the_embedded_teachers_recipe_runs_on_small_data(teacher_run: Path):
    teacher = potstill.load(teacher_run / "student")
    assert [round(level, 2) for level in teacher.levels.tolist()] == [0.01, *(k / 20 for k in range(1, 20)), 0.99]
    assert (teacher.max_context, teacher.max_horizon, teacher.horizon_multiple) == (64, 32, 16)
    lines = [json.loads(line) for line in (teacher_run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "train"] == [1, 2, 3]
    assert all(set(line["terms"]) == {"scaled_pinball"} for line in lines if line["event"] == "train")


def test_the_embedded_teacher_is_tuned_on_covariates(teacher_run: Path, small_csv: Path, tmp_path: Path):
    student = teacher_run / "student"
    sizes = {"num_layers": 1, "d_model": 32, "d_ff": 32, "num_heads": 2, "d_kv": 16}
    changes = small(small_csv, sizes, teacher=str(student), **{"training.max_steps": 8})
    recipe = Recipe.read(RECIPES / "teacher-covariates.yaml", changes)
    run = potstill.distill(recipe, tmp_path / "run")
    before, after = (potstill.load(folder) for folder in (student, run / "student"))
    assert (run / "student" / "config.json").read_text() == (student / "config.json").read_text()  # lengths and sizes
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    terms = {frozenset(line["terms"]) for line in lines if line["event"] == "train"}
    assert terms == {frozenset({"quantile_match", "scaled_pinball"}), frozenset({"scaled_pinball"})}
    weights = [dict(model.module.named_parameters()) for model in (before, after)]
    moved = {name: (weights[1][name] - weights[0][name]).abs().max().item() for name in weights[0]}
    group = [moved[name] for name in moved if ".layer.1." in name]
    others = [moved[name] for name in moved if ".layer.1." not in name and ".layer." in name]
    assert min(group) > 2 * max(others) > 0  # five times the rate


def test_queries_and_keys_of_the_embedded_teacher_learn_at_half_the_rate(small_csv: Path, tmp_path: Path):
    sizes = {"num_layers": 1, "d_model": 32, "d_ff": 32, "num_heads": 2, "d_kv": 16}
    task = prepare(Recipe.read(RECIPES / "teacher-embedded.yaml", small(small_csv, sizes)))
    run = task.training("student", TrainingData(task.dataset(3)), 3, dict, random_start=True)
    trainer = run.trainer(tmp_path, [])
    names = {weight: name for name, weight in run.student.module.named_parameters()}
    optimizer = trainer.create_optimizer()
    rates = {names[weight]: group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    halved = {name for name, rate in rates.items() if rate == 0.00075}
    assert halved == {name for name in rates if name.endswith((".q.weight", ".k.weight"))}
    assert {rate for name, rate in rates.items() if name not in halved} == {0.0015}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.98)}


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


def test_cut_to_a_third_starts_near_its_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    short = {"training.max_steps": 2, "training.batch_size": 8, "training.eval_windows": 32}
    quick = {**short, "data.context_length": 256, "evaluation.max_windows": 20, "evaluation.baselines": []}
    recipe = Recipe.read(RECIPES / "cut-to-a-third.yaml", {**quick, "training.device": "cpu"})
    run = potstill.distill(recipe, tmp_path / "run")
    assert "The student is cut from its teacher: all 5 layers" in capsys.readouterr().err
    metrics = json.loads((run / "metrics.json").read_text())
    sizes = {name: cost["parameters"] for name, cost in metrics["cost"].items() if name in ("teacher", "student")}
    assert 0.3 < sizes["student"] / sizes["teacher"] <= 1 / 3
    (teacher, student) = (next(iter(metrics["models"][name].values()))["sql"] for name in ("teacher", "student"))
    assert student < 1.15 * teacher
