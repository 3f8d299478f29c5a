"""What a recipe hands to transformers: any argument of the trainer, and learning rates of single weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_fakes import log_lines, small_run
from transformers import TrainerCallback
from usage_errors import usage_error

import potstill
from potstill.objectives.base import USER_TERMS
from potstill.recipe import Recipe
from potstill.tasks.forecasting import ForecastTask

PROJECTED = """
from torch import nn

from potstill.objectives.base import Requests, Term


class Projected(Term, nn.Module):
    name = "projected"

    def bind(self, student, teachers):
        self.project = nn.Linear(len(student.levels), 1)
        return Requests()

    def __call__(self, inputs):
        return self.project(inputs.student.forecast.values.transpose(1, 2)).square().mean(dim=(1, 2))
"""


def with_changes(recipe: Recipe, **changes: Any) -> Recipe:
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    return Recipe.lay_over(tree, {f"training.{key}": value for key, value in changes.items()})


def losses(recipe: Recipe, folder: Path) -> list[float]:
    small_run(recipe, validate=lambda _: {"sql": 1.0}).run(folder, resume=False)
    return [line["loss"] for line in log_lines(folder, "train")]


@pytest.mark.parametrize(
    "arguments", [{"dataloader_num_workers": 2}, {"gradient_checkpointing": False}, {"dataloader_pin_memory": False}]
)
def test_what_changes_no_step_gives_the_same_losses(recipe, tmp_path, arguments):
    plain = losses(recipe, tmp_path / "plain")
    assert losses(with_changes(recipe, arguments=arguments), tmp_path / "other") == plain


def test_arguments_reach_the_trainer(recipe, tmp_path):
    given = {"dataloader_num_workers": 2, "adam_beta2": 0.5, "logging_steps": 3, "optim": "adafactor"}
    trainer = small_run(with_changes(recipe, arguments=given)).trainer(tmp_path, [])
    assert {key: getattr(trainer.args, key) for key in given} == given
    assert trainer.get_train_dataloader().num_workers == 2
    assert type(trainer.create_optimizer()).__name__ == "Adafactor"


def test_an_argument_that_changes_the_steps_changes_the_losses(recipe, tmp_path):
    plain = losses(recipe, tmp_path / "plain")
    other = losses(with_changes(recipe, arguments={"adam_beta2": 0.5}), tmp_path / "other")
    assert other[0] == plain[0]
    assert other[-1] != plain[-1]


@pytest.fixture
def refused(recipe, tmp_path):
    """Expects a usage error of ``distill`` for changes of the training section, and no run folder."""

    def run(recipe: Recipe, key: str, *facts: str, **changes: Any) -> None:
        with usage_error(key, *facts):
            potstill.distill(with_changes(recipe, **changes), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    return run


@pytest.mark.parametrize(
    ("arguments", "key", "fact"),
    [
        ({"max_grad_norm": 0.1}, "training.argument_decided_elsewhere", "training.clip"),
        ({"seed": 3}, "training.argument_decided_elsewhere", "training.seed"),
        ({"output_dir": "x"}, "training.argument_decided_elsewhere", "--output"),
        ({"remove_unused_columns": True}, "training.argument_fixed", "remove_unused_columns"),
        ({"save_total_limit": 1}, "training.argument_fixed", "save_total_limit"),
        ({"eval_delay": 5}, "training.argument_fixed", "eval_delay"),
        ({"eval_on_start": True}, "training.argument_fixed", "eval_on_start"),
        ({"dataloader_num_worker": 2}, "training.unknown_argument", "'dataloader_num_workers'"),
        ({"optim": "adamm"}, "training.arguments_refused", "training.arguments"),
        ({"gradient_checkpointing": True}, "training.checkpointing_not_supported", "chronos2"),
    ],
)
def test_arguments_that_are_none_or_are_decided_elsewhere_are_refused(recipe, refused, arguments, key, fact):
    refused(recipe, key, fact, arguments=arguments)


def test_what_a_recipe_asks_of_trls_trainer_is_looked_at_as_early(recipe, refused):
    pytest.importorskip("trl")
    tree = recipe.model_dump(mode="json", exclude_unset=True, exclude={"objective"})
    gkd = Recipe.lay_over(tree, {"training.algorithm": "gkd"})
    refused(gkd, "training.unknown_argument", "'adam_epsilon'", arguments={"adam_epsylon": 0.5})
    refused(gkd, "training.unknown_argument", "lmbda", arguments={"lmbda": 0.5})
    refused(gkd, "training.checkpointing_not_supported", "gkd", arguments={"gradient_checkpointing": True})
    refused(gkd, "gkd.learning_rates_not_supported", "training.learning_rates", learning_rates={"*": 1e-3})


@pytest.fixture
def projected(recipe, tmp_path, monkeypatch):
    """The recipe with a term that has weights of its own, which no other test knows."""
    monkeypatch.delitem(USER_TERMS, "projected", raising=False)
    (tmp_path / "mine.py").write_text(PROJECTED)
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    return Recipe.lay_over(tree, {"imports": [str(tmp_path / "mine.py")], "objective.terms": {"projected": {}}})


class Rates(TrainerCallback):
    """The learning rate of every parameter group, step by step."""

    def __init__(self):
        self.seen: list[list[float]] = []

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        self.seen.append(sorted(group["lr"] for group in optimizer.param_groups))


def trained(recipe: Recipe, folder: Path) -> SimpleNamespace:
    """Weights of student and term before and after, and the rates of all groups at each step."""
    run, rates = small_run(recipe, validate=lambda _: {"sql": 1.0}), Rates()
    trainer = run.trainer(folder, [rates])

    def weights():
        return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}

    before = weights()
    trainer.train()
    after = weights()
    moved = {name: (after[name] - before[name]).abs().max().item() for name in before}
    own = {kind: [v for n, v in moved.items() if n.startswith("objective.") == kind] for kind in (True, False)}
    return SimpleNamespace(student=max(own[False]), term=max(own[True]), rates=rates.seen)


def test_weights_learn_at_rates_of_their_own(projected, tmp_path):
    usual = trained(with_changes(projected, learning_rate=1e-3), tmp_path)
    assert usual.student > 1e-4
    assert usual.term > 1e-4
    still = trained(with_changes(projected, learning_rates={"objective.*": 1e-12, "student.*": 1e-3}), tmp_path)
    assert still.student > 1e-4
    assert still.term < 1e-9
    frozen = trained(with_changes(projected, learning_rates={"student.*": 1e-12}), tmp_path)
    assert frozen.student < 1e-9
    assert frozen.term > 1e-4


def test_the_schedule_scales_every_rate_alike(projected, tmp_path):
    settings = {"learning_rate": 1e-3, "learning_rates": {"objective.*": 2e-4}, "warmup": 0.25, "schedule": "linear"}
    rates = trained(with_changes(projected, **settings), tmp_path).rates
    assert len(rates) == 12
    shares = [min(step / 3, (12 - step) / 9) for step in range(12)]
    for found, share in zip(rates, shares, strict=True):
        assert sorted({round(rate, 12) for rate in found}) == pytest.approx(sorted({2e-4 * share, 1e-3 * share}))


def test_the_first_pattern_that_matches_counts(projected, tmp_path):
    rates = {"objective.projected.project.bias": 3e-4, "objective.*": 2e-4, "student.*": 1e-4}
    settings = {"learning_rate": 1e-3, "learning_rates": rates, "warmup": 0.0, "schedule": "constant_with_warmup"}
    assert set(trained(with_changes(projected, **settings), tmp_path).rates[0]) == {3e-4, 2e-4, 1e-4}


@pytest.mark.parametrize("pattern", ["objectives.*", "student.absent", "objective.*"])
def test_a_pattern_that_matches_no_weight_is_refused(recipe, refused, pattern):
    refused(recipe, "training.pattern_without_weights", repr(pattern), "student.", learning_rates={pattern: 1e-4})


def test_a_rate_of_zero_is_refused(recipe):
    with usage_error("recipe.invalid_value", "training.learning_rates"):
        with_changes(recipe, learning_rates={"student.*": 0.0})


def test_a_resumed_run_keeps_the_rates(projected, tmp_path):
    recipe = with_changes(projected, learning_rates={"objective.*": 1e-4, "*.weight": 5e-4}, dropout=0.1)
    quick: dict[str, Any] = {"validate": lambda _: {"sql": 1.0}}
    small_run(recipe, **quick).run(tmp_path / "whole", resume=False)
    seen: list[int] = []

    def broken_off(_: Any) -> dict[str, float]:
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return {"sql": 1.0}

    with pytest.raises(KeyboardInterrupt):
        small_run(recipe, validate=broken_off).run(tmp_path / "half", resume=False)
    small_run(recipe, **quick).run(tmp_path / "half", resume=True)
    ends = [
        load_file(tmp_path / name / "checkpoints/student/checkpoint-12/model.safetensors") for name in ("whole", "half")
    ]
    assert set(ends[0]) == set(ends[1])
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_control_trains_without_the_weights_that_a_pattern_names(projected, tmp_path, monkeypatch):
    monkeypatch.setattr(ForecastTask, "finish", lambda *_: None)
    recipe = with_changes(projected, learning_rates={"objective.*": 1e-4})
    recipe.control, recipe.control_steps = True, 2
    run = potstill.distill(recipe, tmp_path / "run")
    assert (run / "control" / "model.safetensors").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_weights_of_a_term_are_where_the_student_is(projected, tmp_path, monkeypatch):
    monkeypatch.setattr(ForecastTask, "finish", lambda *_: None)
    assert (potstill.distill(with_changes(projected, device="cuda"), tmp_path / "run") / "student").exists()
