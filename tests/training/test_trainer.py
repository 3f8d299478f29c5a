"""The trainer: what it logs, how it draws windows and horizons, how it steps, who teaches it."""

from __future__ import annotations

from itertools import chain, count, repeat
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from training_fakes import Recorded, Watched, log_lines, small_run
from transformers import TrainerCallback

from potstill.families.load import load
from potstill.families.precision import device_precision
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.tasks.start import RANDOM_RATE
from potstill.training import callbacks
from potstill.training.sampler import PermutedSampler


def weights(fit):
    return {name: tensor.clone() for name, tensor in fit.student.module.state_dict().items()}


def test_the_log_tells_losses_terms_rates_and_evaluations(recipe, tmp_path):
    small_run(recipe).run(tmp_path, resume=False)
    train, evaluations = log_lines(tmp_path, "train"), log_lines(tmp_path, "eval")
    assert [line["step"] for line in train] == list(range(1, 13))
    assert [line["step"] for line in evaluations] == [4, 8, 12]
    for line in train:
        assert set(line["terms"]) == {"expected_pinball", "pinball"}
        total = 0.8 * line["terms"]["expected_pinball"] + 0.2 * line["terms"]["pinball"]
        assert line["loss"] == pytest.approx(total, abs=1e-5)
        assert line["model"] == "student"
        assert line["windows_per_second"] > 0
        assert 0 <= line["lr"] <= RANDOM_RATE
        assert 0 < line["epoch"] < 1
    assert all(line["sql"] > 0 and line["rel_naive"] > 0 for line in evaluations)


def test_rates_count_the_windows_of_short_batches(recipe, tmp_path, monkeypatch):
    recipe.data.train_windows, recipe.training.eval_steps = 20, 12  # batches of 8, 8 and 4
    clock = chain.from_iterable(repeat(2.0 * second, 2) for second in count())  # two looks at it for every report
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(perf_counter=clock.__next__))
    small_run(recipe, validate=lambda _: {"sql": 1.0}).run(tmp_path, resume=False)
    rates = [line["windows_per_second"] for line in log_lines(tmp_path, "train")]
    assert rates == [4, 4, 2] * 4


def test_losses_are_logged_whenever_a_checkpoint_is_written(recipe, tmp_path):
    recipe.training.max_steps, recipe.training.eval_steps = 230, 7  # a report every 2 steps
    small_run(recipe, validate=lambda _: {"sql": 1.0}, steps=30).run(tmp_path, resume=False)
    logged = {line["step"] for line in log_lines(tmp_path, "train")}
    assert {7, 14, 21, 28, 30} <= logged


def test_training_lowers_the_loss(recipe, tmp_path):
    recipe.training.max_steps, recipe.training.learning_rate, recipe.training.eval_steps = 60, 3e-3, 60
    small_run(recipe).run(tmp_path, resume=False)
    losses = [line["loss"] for line in log_lines(tmp_path, "train")]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_permuted_sampler_gives_every_id_once_in_an_order_of_its_epoch():
    sampler = PermutedSampler(20_000, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert len(sampler) == 20_000
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20_000))
    assert orders[0] == orders[2] != orders[1]
    assert list(PermutedSampler(20_000, seed=4)) != orders[0]


def test_every_epoch_is_another_order_and_a_resumed_run_goes_on_in_it(recipe, tmp_path):
    recipe.data.train_windows, recipe.training.max_steps = 24, 9  # three batches an epoch

    def run(folder, resume, steps=9):
        dataset = Recorded(prepare_forecasting(recipe).dataset(9))
        small_run(recipe, dataset=dataset, validate=lambda _: {"sql": 1.0}, steps=steps).run(folder, resume)
        return dataset.batches

    whole = run(tmp_path / "whole", False)
    epochs = [list(chain(*whole[i : i + 3])) for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert run(tmp_path / "half", False, steps=4)[:4] == whole[:4]
    assert run(tmp_path / "half", True) == whole[4:]


def test_windows_drawn_by_hash_come_in_order(recipe, tmp_path):
    recipe.data.synthetic = 0.5
    dataset = Recorded(prepare_forecasting(recipe).dataset(12))
    small_run(recipe, dataset=dataset, validate=lambda _: {"sql": 1.0}).run(tmp_path, resume=False)
    assert list(chain(*dataset.batches)) == list(range(12 * 8))


class AtEachStep(TrainerCallback):
    """Calls back with the model at each optimiser step, after clipping."""

    def __init__(self, look):
        self.look = look

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.look(model)


def test_gradients_are_clipped_to_norm_one(recipe, tmp_path):
    recipe.objective.terms = {"soft_median": {"weight": 1e6}}
    recipe.training.max_steps, recipe.training.eval_steps = 3, 100
    norms = []

    def look(model):
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norms.append(torch.stack([g.norm() for g in gradients]).norm().item())

    small_run(recipe).trainer(tmp_path, [AtEachStep(look)]).train()
    assert norms == pytest.approx([1.0] * 3, rel=1e-3)


def test_accumulated_batches_step_as_one_of_their_size(recipe, tmp_path):
    ends = []
    for size, accumulate in ((8, 1), (2, 4)):
        recipe.training.batch_size, recipe.training.accumulate = size, accumulate
        fit = small_run(recipe, validate=lambda _: {"sql": 1.0})
        assert fit.steps == 12
        fit.run(tmp_path / str(size), resume=False)
        ends.append((weights(fit), [line["loss"] for line in log_lines(tmp_path / str(size), "train")]))
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-3)
    for name, tensor in ends[0][0].items():
        # AdamW turns rounding into steps of the learning rate where a gradient is next to nothing
        assert (tensor - ends[1][0][name]).abs().mean() < 2e-5, name


@pytest.fixture
def labels(recipe, tmp_path):
    recipe.teacher[0].precision = "fp32"  # fp16 keeps a bf16 teacher's forecasts as they are
    prepare_forecasting(recipe).label(tmp_path / "labels")
    return tmp_path / "labels"


@pytest.mark.parametrize("random_horizon", [False, True])
def test_stored_labels_give_the_loss_of_the_live_teacher(recipe, labels, tmp_path, random_horizon):
    recipe.training.random_horizon = random_horizon
    losses = []
    for name, store in (("live", None), ("stored", labels)):
        small_run(recipe, labels=store, validate=lambda _: {"sql": 1.0}).run(tmp_path / name, resume=False)
        losses.append([line["terms"]["expected_pinball"] for line in log_lines(tmp_path / name, "train")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # labels are kept in fp16
    assert losses[0][0] == pytest.approx(losses[1][0], rel=3e-4)
    assert losses[0] != losses[1]


def test_a_random_horizon_is_whole_patches_and_the_same_after_resuming(recipe, tmp_path):
    recipe.training.random_horizon = True

    def run(folder, resume, steps=12):
        seen = []
        fit = small_run(recipe, validate=lambda _: {"sql": 1.0}, steps=steps)
        forward = type(fit.student).forward

        def watched(self, windows, request):
            if self.module.training:
                assert windows.future.shape[1] == request.horizon
                seen.append(request.horizon)
            return forward(self, windows, request)

        fit.student.forward = watched.__get__(fit.student)
        fit.run(folder, resume)
        return seen

    whole = run(tmp_path / "whole", resume=False)
    assert set(whole) == {16, 32}
    assert run(tmp_path / "half", resume=False, steps=8) + run(tmp_path / "half", resume=True) == whole


def test_a_term_of_the_users_own_is_trained_with_the_student(recipe, tmp_path, term):
    def shifted(self, inputs):
        return (inputs.student.forecast.values.mean(dim=(1, 2)) + self.shift).square()

    made = term("shifted", shifted, trained=True)
    made.__init__ = lambda self: (nn.Module.__init__(self), setattr(self, "shift", nn.Parameter(torch.tensor(2.0))))[0]
    recipe.objective.terms = {"shifted": {}}
    fit = small_run(recipe)
    fit.run(tmp_path, resume=False)
    shift: Any = fit.objective.trained["shifted"].shift
    assert shift.item() < 2.0 - 1e-3
    assert "shifted" in log_lines(tmp_path, "train")[0]["terms"]
    assert not any("shift" in name for name in load(tmp_path / "student").module.state_dict())
    resumed = small_run(recipe, steps=16)
    resumed.run(tmp_path, resume=True)
    again: Any = resumed.objective.trained["shifted"].shift
    assert again.item() < shift.item()


def test_bf16_trains_fp32_weights_against_labels_in_fp32(recipe, tmp_path):
    recipe.training.precision = "bf16"
    live, seen = prepare_forecasting(recipe).live_teachers(), []
    assert live is not None

    def look(batch, outputs):
        assert not torch.is_autocast_enabled("cpu")
        (output,) = outputs.values()
        seen.append(output.forecast.values.dtype)

    fit = small_run(recipe, provider=Watched(live, look))
    fit.run(tmp_path, resume=False)
    assert set(seen) == {torch.float32}
    assert {p.dtype for p in fit.student.module.parameters()} == {torch.float32}
    assert {p.dtype for p in load(tmp_path / "student").module.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "bf16", "expected"),
    [("auto", True, "bf16"), ("auto", False, "fp32"), ("bf16", False, "bf16"), ("fp32", True, "fp32")],
)
def test_precision_follows_the_hardware(monkeypatch, precision, bf16, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert device_precision(precision, "cpu") == expected
