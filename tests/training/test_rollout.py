"""On-policy windows: what is appended, what becomes of the future, who sees it, and that every draw can be repeated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_fakes import Stop, Watched, log_lines, small_recipe, small_run, stopping
from usage_errors import usage_error

import potstill
from potstill.families.base import Forecaster, ModelSource
from potstill.families.load import load
from potstill.recipe import Recipe, RolloutConfig
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.plan import plan_lines
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.training import rollout
from potstill.training.rollout import on_policy
from potstill.types import Forecast, Output, Request, Windows

NAN = float("nan")


class Counting(Forecaster):
    """Goes on from the last value in steps of one, ten higher from each level to the next; patches of 2, 4 a pass."""

    family = "counting"
    horizon_multiple, max_context, max_horizon = 2, 6, 4

    module: Any

    def __init__(self, *levels: float):
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.module.weight)
        self.levels = torch.tensor(levels or (0.5,))
        self.source = ModelSource("counting", "here")
        self.contexts: list[Tensor] = []
        self.seen: list[Windows] = []
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, batch: Windows, request: Request) -> Output:
        windows, horizon = batch, request.horizon
        self.contexts.append(windows.context)
        self.seen.append(windows)
        self.modes.append((self.module.training, torch.is_grad_enabled()))
        loc = windows.context[:, -1:].double()
        values = self.module(torch.arange(1.0, horizon + 1)[:, None]).T + 10 * torch.arange(len(self.levels))[:, None]
        values = (values / 2).expand(len(windows), -1, -1).asinh()
        return Output(Forecast(self.levels, values, loc, torch.full_like(loc, 2.0), arcsinh=True))

    def save(self, folder: Path) -> None: ...

    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        raise NotImplementedError


def batch(rows: int = 1) -> Windows:
    """Contexts 1 … 6, the first two steps unknown, and futures 101 … 105."""
    context = torch.tensor([NAN, NAN, 3.0, 4.0, 5.0, 6.0]).repeat(rows, 1)
    future = torch.arange(101.0, 106).repeat(rows, 1)
    return Windows(context, future, torch.arange(rows), torch.zeros(rows).long(), torch.full((rows,), 6))


@pytest.fixture
def fixed(monkeypatch):
    """Makes every window draw these patches, and of its levels the one at this place."""

    def fix(patches: int, level: int = 0):
        draw = SimpleNamespace(random=lambda: 0.0, randint=lambda low, high: patches, choice=lambda of: of[level])
        monkeypatch.setattr(rollout, "random", SimpleNamespace(Random=lambda key: draw))

    return fix


def same(found: Tensor, expected: list[float]) -> bool:
    return torch.allclose(found, torch.tensor([expected], dtype=torch.float32), equal_nan=True)


def test_a_context_goes_on_with_the_forecast_and_the_future_moves_along(fixed):
    fixed(1)
    before = batch()
    windows = on_policy(before, Counting(), RolloutConfig(share=1), seed=0, step=0)
    assert same(windows.context, [3, 4, 5, 6, 7, 8])
    assert same(windows.future, [103, 104, 105, NAN, NAN])
    assert same(before.context, [NAN, NAN, 3, 4, 5, 6])
    assert torch.equal(windows.ids, before.ids)
    assert torch.equal(windows.origin, before.origin)


def test_further_than_one_pass_the_student_reads_its_own_forecast(fixed):
    fixed(3)
    student = Counting()
    windows = on_policy(batch(), student, RolloutConfig(share=1), seed=0, step=0)
    assert same(student.contexts[1], [5, 6, 7, 8, 9, 10])
    assert same(windows.context, [7, 8, 9, 10, 11, 12])
    assert same(windows.future, [NAN] * 5)


def test_a_path_keeps_to_one_of_the_levels_that_are_rolled_out(fixed):
    fixed(3, level=2)
    student = Counting(0.01, 0.1, 0.5, 0.9, 0.99)
    windows = on_policy(batch(), student, RolloutConfig(share=1), seed=0, step=0)
    # 0.9 is the third of them: 30 above the lowest one, in either pass
    assert same(windows.context, [37, 38, 39, 40, 71, 72])
    fixed(1, level=0)
    assert same(
        on_policy(batch(), Counting(0.95, 0.99), RolloutConfig(share=1), seed=0, step=0).context, [3, 4, 5, 6, 7, 8]
    )


def test_the_student_rolls_out_as_it_will_forecast_and_goes_on_training():
    student = Counting()
    student.module.train()
    windows = on_policy(batch(3), student, RolloutConfig(share=1), seed=0, step=0)
    assert set(student.modes) == {(False, False)}
    assert student.module.training
    assert not windows.context.requires_grad


def test_the_gradient_reaches_the_student_and_does_not_pass_through_what_it_rolled_out(fixed):
    fixed(1)
    student = Counting()
    windows = on_policy(batch(), student, RolloutConfig(share=1), seed=0, step=0)
    forecast = student.forward(windows, Request(4)).forecast
    raw = forecast.values.double().sinh() * forecast.scale[:, :, None] + forecast.loc[:, :, None]
    (gradient,) = torch.autograd.grad(raw.sum(), student.module.weight)
    # steps of 1 to 4 weights; through the context each would count the weight twice more
    assert gradient.item() == pytest.approx(1 + 2 + 3 + 4)


def test_share_and_length_are_drawn_and_follow_from_seed_step_and_id():
    config, windows = RolloutConfig(share=0.25, patches=3), batch(2000)

    def extended(seed, step, windows=windows, config=config):
        # the median's path adds its length to the last value
        return (on_policy(windows, Counting(), config, seed, step).context[:, -1] - 6).int()

    first = extended(0, 0)
    assert torch.equal(first, extended(0, 0))
    assert not torch.equal(first, extended(0, 1))
    assert not torch.equal(first, extended(1, 0))
    assert set(first.tolist()) == {0, 2, 4, 6}
    assert (first > 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (first == 6).float().mean().item() == pytest.approx(0.25 / 3, abs=0.02)
    # a window gets the same alone as in any company
    alone = windows.take(slice(7, 8))
    assert extended(0, 0, alone)[0] == first[7]


def test_without_a_share_the_windows_are_the_same():
    windows = batch()
    assert on_policy(windows, Counting(), RolloutConfig(), seed=0, step=0) is windows


def test_a_real_path_is_one_that_inference_rolls_out(recipe, fixed):
    recipe.teacher[0].precision = "fp32"
    setup = prepare_forecasting(recipe)
    teacher = setup.teachers["tiny"]
    windows = setup.dataset(8).batch([0, 5])
    fixed(2, level=3)
    context = on_policy(windows, teacher, RolloutConfig(share=1), seed=0, step=0).context
    own = [i for i, level in enumerate(teacher.levels.tolist()) if 0.09 < level < 0.91]
    forecast = teacher.forward(windows, Request(32)).forecast
    raw = forecast.values.double().sinh() * forecast.scale[:, :, None] + forecast.loc[:, :, None]
    assert torch.allclose(context[:, :32], windows.context[:, 32:])
    assert torch.allclose(context[:, 32:], raw[:, own[3]].float(), rtol=1e-5)


def quick(recipe: Recipe, **changes: Any):
    return small_run(recipe, **{"validate": lambda _: {"sql": 1.0}, **changes})


def rolled(recipe: Recipe, share: float, patches: int = 2) -> Recipe:
    recipe.training.rollout = RolloutConfig(share=share, patches=patches)
    return recipe


def end(run: Path) -> tuple[list[float], str]:
    return [line["loss"] for line in log_lines(run, "train")], load(run / "student").fingerprint


def test_the_teacher_answers_from_where_the_student_went(recipe, tmp_path):
    task, asked = prepare_forecasting(rolled(recipe, 0.5)), []
    dataset, live = task.dataset(task.steps), task.live_teachers()
    assert live is not None

    def look(windows, outputs):
        plain = dataset.batch(windows.ids.tolist())
        moved = (windows.context != plain.context).any(dim=1)
        requests = {"tiny": Request(plain.future.shape[1])}
        answers = [found["tiny"].forecast.values for found in (outputs, live.outputs(plain, requests))]
        asked.append((moved, (answers[0] - answers[1]).abs().amax(dim=(1, 2)) > 0))
        k = windows.future.isnan().sum(dim=1)
        assert set(k.tolist()) <= {0, 16, 32}
        assert torch.equal(k > 0, moved)

    quick(recipe, provider=Watched(live, look)).run(tmp_path, resume=False)
    moved, answered = (torch.cat(parts) for parts in zip(*asked, strict=True))
    assert 0.3 < moved.float().mean() < 0.7
    assert torch.equal(moved, answered)


def test_a_student_learns_where_it_went(recipe, tmp_path):
    recipe.training.max_steps, recipe.training.learning_rate, recipe.training.eval_steps = 60, 3e-3, 60
    quick(rolled(recipe, 1.0)).run(tmp_path, resume=False)
    losses = [line["terms"]["expected_pinball"] for line in log_lines(tmp_path, "train")]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_no_share_trains_bit_for_bit_as_before(recipe, tmp_path, monkeypatch):
    recipe.training.dropout = 0.1
    quick(recipe).run(tmp_path / "off", resume=False)
    quick(rolled(recipe, 0.5)).run(tmp_path / "on", resume=False)
    monkeypatch.setattr("potstill.training.step.on_policy", lambda windows, *_: windows)
    quick(recipe).run(tmp_path / "before", resume=False)
    assert end(tmp_path / "off") == end(tmp_path / "before")
    assert end(tmp_path / "on") != end(tmp_path / "before")


def test_a_resumed_run_rolls_out_alike(recipe, tmp_path):
    recipe.training.dropout = 0.1
    quick(rolled(recipe, 0.5)).run(tmp_path / "whole", resume=False)
    with pytest.raises(Stop):
        quick(recipe, validate=stopping(2)).run(tmp_path / "half", resume=False)
    quick(recipe).run(tmp_path / "half", resume=True)
    assert end(tmp_path / "half") == end(tmp_path / "whole")


def test_the_plan_tells_of_rollouts(recipe):
    assert not any("Rollouts" in line for line in plan_lines(prepare_forecasting(recipe), None))
    lines = plan_lines(prepare_forecasting(rolled(recipe, 0.25, patches=3)), None)
    assert "Rollouts   25% of the windows continue for 16 to 48 steps with the student's own forecast" in lines


@pytest.mark.parametrize("options", [{"alpha": 0}, {"labels": "auto"}, {"labels": "somewhere"}])
def test_rollouts_without_a_live_teacher_are_refused(recipe, tmp_path, options):
    with usage_error("training.rollout_without_teacher", "training.rollout"):
        potstill.distill(rolled(recipe, 0.25), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_control_has_no_rollouts(tiny_teacher, small_csv, tmp_path, quick_trainer, monkeypatch):
    taught = []
    original = rollout.on_policy

    def watched(windows, student, config, seed, step):
        taught.append((student, step))
        return original(windows, student, config, seed, step)

    monkeypatch.setattr("potstill.training.step.on_policy", watched)
    recipe = rolled(small_recipe(tiny_teacher, small_csv), 0.5)
    recipe.control, recipe.control_steps = True, 3
    monkeypatch.setattr(ForecastTask, "finish", lambda *_: None)
    potstill.distill(recipe, tmp_path / "run")
    trained = [step for student, step in taught if student is taught[-1][0]]
    assert trained == list(range(12))
    # before it only the plan's own student, which is thrown away; the control is none of them
    assert len({id(student) for student, _ in taught}) == 2


@pytest.mark.parametrize(("key", "value"), [("share", 1.5), ("share", -0.1), ("patches", 0), ("lambda", 0.1)])
def test_bad_keys_are_named(key, value):
    fault = "unknown_key" if key == "lambda" else "invalid_value"
    with usage_error(f"recipe.{fault}", f"training.rollout.{key}"):
        Recipe.read(None, {f"training.rollout.{key}": value})


def test_covariates_and_groups_move_along(fixed):
    """Past covariates are unknown over the appended steps, known ones move; a whole group is extended alike."""
    fixed(1)
    plain = batch(2)
    known = torch.arange(11.0).expand(2, 1, -1)
    windows = replace(plain, group=torch.zeros(2).long(), past_covariates=known[..., :6], future_covariates=known)

    class Grouped(Counting):
        group_signals = frozenset({"forecast"})

    student = Grouped()
    moved = on_policy(windows, student, RolloutConfig(share=1), seed=0, step=0)
    assert same(moved.context[:1], [3, 4, 5, 6, 7, 8])
    assert moved.past_covariates is not None
    assert moved.future_covariates is not None
    assert same(moved.past_covariates[0], [2, 3, 4, 5, NAN, NAN])
    assert same(moved.future_covariates[1], [2, 3, 4, 5, 6, 7, 8, 9, 10, NAN, NAN])
    assert moved.group.tolist() == [0, 0]
    # what the student reads while it rolls out reaches as far as it forecasts
    assert student.seen[0].future_covariates.shape == (2, 1, 6 + 4)
