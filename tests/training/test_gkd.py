"""TRL's GKD on a forecaster: the divergence by hand, what each form sees, and that a student learns by it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from training_fakes import small_run
from trl.experimental.gkd import GKDConfig
from usage_errors import usage_error

from potstill.families.load import load
from potstill.objectives.base import LossInputs
from potstill.objectives.quantile_match import QuantileMatch
from potstill.recipe import ForecastGkd
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.training.gkd import ForecastGKDTrainer, forecaster, gkd_trainer
from potstill.training.gkd import divergence as module
from potstill.training.gkd.divergence import divergence
from potstill.training.hooks import TrainerHooks
from potstill.types import Forecast, Request

HOOKS = TrainerHooks(dict, lambda ids, series: str(ids))  # these trainings are not validated
LEVELS = torch.tensor([0.25, 0.5, 0.75])


def forecast(*values: float, loc: float = 0.0) -> Forecast:
    """One step of one window."""
    levels = LEVELS if len(values) == 3 else torch.tensor([0.5])
    loc_scale = torch.tensor([[loc]]).double(), torch.ones(1, 1).double()
    return Forecast(levels, torch.tensor(values)[None, :, None], *loc_scale)


def bernoulli_jsd(p: float, q: float) -> float:
    m = (p + q) / 2
    return sum(0.5 * a * math.log(a / b) for a, b in ((p, m), (1 - p, 1 - m), (q, m), (1 - q, 1 - m)))


def test_heads_by_hand(monkeypatch):
    monkeypatch.setattr(module, "EDGE_COUNT", 3)
    monkeypatch.setattr(module, "EDGE_RANGE", 2.0)  # edges at -2, 0 and 2, a width of 2
    found = divergence(forecast(0.5), forecast(-1.0))
    expected = sum(
        2 * bernoulli_jsd(1 / (1 + math.exp(-(edge - 0.5) / 2)), 1 / (1 + math.exp(-(edge + 1) / 2)))
        for edge in (-2, 0, 2)
    )
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_bins_by_hand(monkeypatch):
    monkeypatch.setattr(module, "EDGE_COUNT", 2)
    monkeypatch.setattr(module, "EDGE_RANGE", 1.0)  # three bins
    bins = []
    for value in (0.5, -1.0):
        low, high = (1 / (1 + math.exp(-(edge - value) / 2)) for edge in (-1, 1))
        bins.append((low, high - low, 1 - high))
    kl = sum(q * math.log(q / p) for p, q in zip(*bins, strict=True))
    found = divergence(forecast(0.5), forecast(-1.0), beta=0.0, form="bins")
    assert found.item() == pytest.approx(2 * kl, rel=1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_heads_know_their_places_and_bins_do_not(beta):
    right, crossed = forecast(-1.0, 0.0, 1.0), forecast(1.0, 0.0, -1.0)
    assert divergence(right, right, beta, "heads").item() == pytest.approx(0.0, abs=1e-6)
    assert divergence(right, right, beta, "bins").item() == pytest.approx(0.0, abs=1e-6)
    assert divergence(crossed, right, beta, "bins").item() == pytest.approx(0.0, abs=1e-6)
    assert divergence(crossed, right, beta, "heads").item() > 0.1


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_far_away_a_head_still_feels_where_to_go(beta):
    gradients = []
    for distance in (1.0, 2.0, 4.0):
        student = forecast(distance)
        student.values.requires_grad_()
        (gradient,) = torch.autograd.grad(divergence(student, forecast(0.0), beta), student.values)
        gradients.append(gradient.item())
    assert min(gradients) > 0.5


def test_a_teacher_in_another_scale_is_brought_into_the_students():
    assert divergence(forecast(1.0), forecast(0.5, loc=0.5)).item() == pytest.approx(0.0, abs=1e-6)


def arguments(folder: Path, **settings: Any) -> GKDConfig:
    """A quiet run on the CPU in fp32; half of the windows go on for one or two patches."""
    quiet = {
        "gradient_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    usual = {"lmbda": 0.5, "max_new_tokens": 32, "per_device_train_batch_size": 8, "logging_steps": 1}
    return GKDConfig(str(folder), **{**quiet, **usual, **settings})


class Subset:
    """The first windows of a data set, in order."""

    stores_inputs = True

    def __init__(self, dataset: Any, count: int):
        self.batch, self.count = dataset.batch, count

    def __len__(self) -> int:
        return self.count


def trained(recipe, folder, form, steps=40, **options: Any):
    """A small student after some steps, its trainer, and its distance to the teacher before and after."""
    fit, teacher = small_run(recipe), prepare_forecasting(recipe).teachers["tiny"]
    student: Any = fit.student
    dataset = fit.data.dataset
    batch = dataset.batch(list(range(0, len(dataset), 5)))

    def distance() -> float:
        with torch.no_grad():
            own, theirs = (model.forward(batch, Request(32)) for model in (student, teacher))
        return QuantileMatch()(LossInputs(batch, own, {"teacher": theirs})).mean().item()

    args = arguments(folder, max_steps=steps, learning_rate=3e-3, lr_scheduler_type="constant", **options)
    trainer = ForecastGKDTrainer(student, teacher, args, dataset, horizon=32, form=form, hooks=HOOKS)
    before = distance()
    trainer.train()
    return trainer, before, distance()


@pytest.mark.parametrize(("form", "beta"), [("heads", 0.5), ("bins", 0.0)])
def test_trl_trains_the_student_towards_its_teacher(recipe, tmp_path, form, beta):
    trainer, before, after = trained(recipe, tmp_path, form, beta=beta)
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    if form == "heads":
        assert after < 0.6 * before
    trainer.student.save(tmp_path / "student")
    assert load(tmp_path / "student").fingerprint == trainer.student.fingerprint


@pytest.mark.parametrize("lmbda", [0.0, 0.5, 1.0])
def test_a_share_of_the_windows_goes_on_from_the_students_forecast(recipe, tmp_path, monkeypatch, lmbda):
    seen = []

    def watch(windows, student, config, seed, step):
        rolled = original(windows, student, config, seed, step)
        seen.append((config.patches, (rolled.context != windows.context).any(dim=1), step))
        return rolled

    original = forecaster.on_policy
    monkeypatch.setattr(forecaster, "on_policy", watch)
    trained(recipe, tmp_path, "heads", steps=6, lmbda=lmbda)
    patches, moved, steps = zip(*seen, strict=True)
    assert set(patches) == {2}
    assert steps == tuple(range(6))
    assert torch.cat(moved).float().mean().item() == pytest.approx(lmbda, abs=0.25)


@pytest.mark.parametrize(("size", "accumulate"), [(4, 2), (5, 2)])
def test_an_accumulated_step_has_the_gradient_of_one_batch(recipe, tmp_path, size, accumulate):
    """Eight windows: at once, as four and four, and as five and three."""
    norms = []
    for sizes in ((8, 1), (size, accumulate)):
        fit, teacher = small_run(recipe), prepare_forecasting(recipe).teachers["tiny"]
        settings = {"per_device_train_batch_size": sizes[0], "gradient_accumulation_steps": sizes[1]}
        args = arguments(tmp_path, max_steps=1, lmbda=0.0, **settings)
        student: Any = fit.student
        windows = Subset(fit.data.dataset, 8)
        trainer = ForecastGKDTrainer(student, teacher, args, windows, horizon=32, hooks=HOOKS)
        trainer.train()
        norms.append(trainer.state.log_history[0]["grad_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_copying_the_teachers_sequences_is_refused(recipe, tmp_path):
    with usage_error("training.seq_kd_of_forecaster", "seq_kd"):
        trained(recipe, tmp_path, "heads", seq_kd=True)


@pytest.mark.parametrize("form", ["heads", "bins"])
def test_a_recipe_chooses_the_form(recipe, tmp_path, form):
    fit, teacher = small_run(recipe), prepare_forecasting(recipe).teachers["tiny"]
    config = ForecastGkd.model_validate({"gkd": {"form": form}, "precision": "fp32"})
    trainer = gkd_trainer(fit.student, teacher, (config, tmp_path, 1, "cpu"), fit.data.dataset, HOOKS, 32, [])
    assert isinstance(trainer, ForecastGKDTrainer)
    assert trainer.form == form
