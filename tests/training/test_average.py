"""The moving average of the weights: its values by hand, what is validated and saved, and resuming."""

from __future__ import annotations

import doctest

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_fakes import Stop, small_run, stopping

from potstill.training import average
from potstill.training.average import WeightAverage


def test_the_average_by_hand():
    layer = nn.Linear(1, 1, bias=False)
    mean = WeightAverage(layer, decay=0.3)
    expected = layer.weight.item()
    begin = expected
    for step, value in enumerate([2.0, -1.0, 5.0, 0.5], start=1):
        with torch.no_grad():
            layer.weight.fill_(value)
        mean.update(step)
        decay = min(0.3, step / (step + 8))  # 1/9, 2/10, 3/11, then 0.3
        expected = decay * expected + (1 - decay) * value
    assert expected != begin
    with mean.applied():
        assert layer.weight.item() == pytest.approx(expected, rel=1e-6)
    assert layer.weight.item() == 0.5


def test_the_example_is_right():
    found = doctest.testmod(average)
    assert found.attempted
    assert not found.failed


def test_the_weights_come_back_after_an_error():
    layer = nn.Linear(2, 2)
    mean = WeightAverage(layer, decay=0.9)
    with torch.no_grad():
        layer.weight.add_(1)
    trained = layer.weight.clone()
    with pytest.raises(Stop), mean.applied():
        raise Stop(torch.equal(layer.weight, trained))
    assert torch.equal(layer.weight, trained)


def test_an_average_has_no_weight_to_train_and_is_in_the_checkpoint():
    layer = nn.Linear(2, 2)
    mean = WeightAverage(layer, decay=0.9)
    assert not list(mean.parameters())
    assert {name: tensor.shape for name, tensor in mean.state_dict().items()} == {
        "weight_0": layer.weight.shape,
        "weight_1": layer.bias.shape,
    }


def test_a_run_validates_and_keeps_the_average(recipe, tmp_path):
    recipe.training.ema, recipe.training.learning_rate, recipe.training.max_steps = 0.9, 0.01, 8
    validated = []

    def validate(student):
        validated.append({name: x.clone() for name, x in student.module.named_parameters()})
        return {"sql": 1.0 / len(validated)}

    run = small_run(recipe, validate=validate)
    trainer_weights = []
    averages = WeightAverage.update

    def update(self, step):
        averages(self, step)
        trainer_weights.append({n: x.clone() for n, x in self.source[0].named_parameters()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "update", update)
        run.run(tmp_path, resume=False)
    names = list(validated[-1])
    expected = {name: trainer_weights[0][name] for name in names}
    saved = load_file(tmp_path / "student" / "model.safetensors")
    begin = small_run(recipe).student.module.state_dict()
    expected = {name: begin[name].clone() for name in names}
    for step, weights in enumerate(trainer_weights, start=1):
        decay = min(0.9, step / (step + 8))
        expected = {name: decay * expected[name] + (1 - decay) * weights[name] for name in names}
    for name in names:
        torch.testing.assert_close(validated[-1][name], expected[name], atol=1e-5, rtol=1e-4)
        assert torch.equal(saved[name], validated[-1][name])
    now = dict(run.student.module.named_parameters())
    assert all(torch.equal(now[name], trainer_weights[-1][name]) for name in names)
    assert any(not torch.equal(saved[name], now[name]) for name in names)


def test_a_resumed_run_continues_the_average(recipe, tmp_path):
    recipe.training.ema, recipe.training.learning_rate = 0.9, 0.01
    small_run(recipe, validate=lambda _: {"sql": 1.0}).run(tmp_path / "whole", resume=False)
    with pytest.raises(Stop):
        small_run(recipe, validate=stopping(3)).run(tmp_path / "parts", resume=False)
    small_run(recipe, validate=lambda _: {"sql": 1.0}).run(tmp_path / "parts", resume=True)
    student = "student/model.safetensors"
    assert (tmp_path / "parts" / student).read_bytes() == (tmp_path / "whole" / student).read_bytes()
