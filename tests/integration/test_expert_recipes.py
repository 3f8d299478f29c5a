"""The recipes in recipes/experts, on small data: a sparse student is distilled, and a finished student grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training_fakes import log_lines

import potstill
from potstill.recipe import Recipe
from potstill.tasks.prepare import prepare
from potstill.training.trainer import DistillationTrainer

RECIPES = Path(__file__).parents[2] / "recipes" / "experts"
SIZES = {"num_layers": 2, "d_model": 24, "d_ff": 32, "num_heads": 2, "d_kv": 16}
STATISTICS = {"auxiliary_balance", "auxiliary_router_z", "busiest_expert", "idle_experts"}


def short(name: str, data: Path, teacher: Path, **changes: Any) -> Recipe:
    """A recipe on small data for six steps, an evaluation and a checkpoint every second one."""
    return Recipe.read(
        RECIPES / f"{name}.yaml",
        {
            "teacher": str(teacher),
            "data.paths": [str(data)],
            "data.split": "8:1:1",
            "data.context_length": 64,
            "data.prediction_length": 32,
            "data.stride": 1,
            "training.max_steps": 6,
            "training.eval_steps": 2,
            "training.batch_size": 8,
            "training.eval_windows": 4,
            "training.precision": "fp32",
            "training.device": "cpu",
            "evaluation.max_windows": 4,
            "evaluation.baselines": [],
            **changes,
        },
    )


@pytest.fixture
def sparse(small_csv: Path, tiny_teacher: Path) -> Recipe:
    """The recipe of a sparse student, of a teacher with two layers."""
    experts = Recipe.read(RECIPES / "sparse.yaml").student.overrides
    assert {key: experts[key] for key in ("experts", "expert_top_k", "expert_layers", "expert_insert")} == {
        "experts": 4,
        "expert_top_k": 2,
        "expert_layers": [1, 3],
        "expert_insert": "ffn",
    }
    small = {**experts, **SIZES, "expert_layers": [1]}
    return short("sparse", small_csv, tiny_teacher, **{"student.overrides": small})


def test_a_sparse_student_is_distilled_and_reports_the_use_of_its_experts(sparse, tmp_path, capsys):
    run = potstill.distill(sparse, tmp_path / "run")
    plan = " ".join(capsys.readouterr().err.split())
    student = potstill.load(run)
    assert f"chronos2 (4 experts, 2 per token, in block 1), {student.parameters:,} parameters" in plan
    assert f"({student.active_parameters:,} of them active)" in plan
    assert "start: teacher" in plan
    assert student.info.auxiliary == ("balance", "router_z")
    lines = log_lines(run, "train")
    assert all(set(line["terms"]) >= STATISTICS for line in lines)
    assert all(0.25 <= line["terms"]["busiest_expert"] <= 0.5 for line in lines)
    losses = lines[-1]["terms"]
    weighted = 0.8 * losses["expected_pinball"] + 0.2 * losses["pinball"]
    auxiliary = 0.01 * losses["auxiliary_balance"] + 0.001 * losses["auxiliary_router_z"]
    assert lines[-1]["loss"] == pytest.approx(weighted + auxiliary, rel=1e-4)


def test_a_sparse_student_starts_as_the_dense_one_that_is_cut_from_its_teacher(sparse):
    context = torch.randn(20, 64, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)
    dense = sparse.model_copy(deep=True)
    dense.student.overrides = SIZES
    students = [prepare(recipe).fresh() for recipe in (sparse, dense)]
    mine, theirs = (student.predict(context, 32).values for student in students)
    assert students[0].parameters > students[1].parameters
    assert (mine - theirs).abs().max() <= 1e-6 * theirs.abs().max()


def test_a_sparse_student_is_resumed_bit_for_bit(sparse, tmp_path, monkeypatch):
    sparse.training.dropout = 0.1
    whole = potstill.distill(sparse, tmp_path / "whole")
    own = DistillationTrainer.compute_loss

    def breaks(self, *given, **named):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return own(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(DistillationTrainer, "compute_loss", breaks)
        with pytest.raises(KeyboardInterrupt):
            potstill.distill(sparse, tmp_path / "parts")
    resumed = potstill.distill(output=tmp_path / "parts", resume=True)
    saved = [(run / "student" / "model.safetensors").read_bytes() for run in (whole, resumed)]
    assert saved[0] == saved[1]
    figures = [[line["terms"] for line in log_lines(run, "train")] for run in (whole, resumed)]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("control", [True, "start"])
def test_a_sparse_student_has_controls(sparse, tmp_path, control):
    sparse.control, sparse.control_steps = control, 2
    run = potstill.distill(sparse, tmp_path / "run")
    assert potstill.load(run / "control").info.auxiliary == ("balance", "router_z")


def test_a_sparse_student_learns_in_bf16(sparse, tmp_path):
    sparse.training.precision = "bf16"
    run = potstill.distill(sparse, tmp_path / "run")
    assert all(0.9 < line["terms"]["auxiliary_balance"] < 2 for line in log_lines(run, "train"))
    assert next(potstill.load(run).module.parameters()).dtype == torch.float32


def test_a_finished_student_grows(small_csv: Path, tiny_teacher: Path, tmp_path: Path):
    given = Recipe.read(RECIPES / "grow.yaml").student.grow
    assert (given.experts, given.top_k, given.insert, given.frozen) == (4, 2, "ffn", 0.7)
    source = short("sparse", small_csv, tiny_teacher, **{"student.overrides": SIZES})
    source.objective.auxiliary = {}
    student = potstill.distill(source, tmp_path / "source") / "student"
    run = potstill.mix(short("grow", small_csv, tiny_teacher), tmp_path / "run", grow=student)
    assert potstill.load(run).parameters > potstill.load(student).parameters
    assert all(set(line["terms"]) >= STATISTICS for line in log_lines(run, "train"))
    again = potstill.mix(short("grow", small_csv, tiny_teacher), tmp_path / "again", grow=run.parent / "source")
    saved = [(folder / "student" / "model.safetensors").read_bytes() for folder in (run, again)]
    assert saved[0] == saved[1]
