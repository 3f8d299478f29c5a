"""Between two lines of the log a training on windows reads no value of a tensor: each would wait for a GPU."""

from __future__ import annotations

import pytest
import torch
from training_fakes import small_run
from value_reads import Reads

from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.training.arguments import training_arguments


@pytest.fixture
def reads(recipe, tmp_path, monkeypatch):
    """Trains for some steps without a line of the log in between, and counts the values that were read."""
    tolist = torch.Tensor.tolist

    def count(steps: int, labels=None) -> int:
        recipe.training.max_steps, recipe.training.eval_steps = steps, 10**6
        recipe.training.arguments = {"logging_steps": 10**6}
        trainer = small_run(recipe, labels, validate=lambda _: {"sql": 1.0}).trainer(tmp_path, [])
        with Reads() as found, monkeypatch.context() as patched:

            def counted(tensor):
                found.count += 1
                return tolist(tensor)

            patched.setattr(torch.Tensor, "tolist", counted)
            trainer.train()
        return found.count

    return count


@pytest.mark.parametrize(
    "setting",
    [{}, {"accumulate": 2}, {"random_horizon": True}],
    ids=["one batch", "several batches", "random horizon"],
)
def test_a_step_reads_no_value(recipe, reads, setting):
    for key, value in setting.items():
        setattr(recipe.training, key, value)
    assert reads(9) == reads(3)


def test_a_step_from_labels_reads_no_value(recipe, reads, tmp_path):
    recipe.training.max_steps = 9
    labels = tmp_path / "labels"
    prepare_forecasting(recipe).label(labels)
    assert reads(9, labels) == reads(3, labels)


def test_medians_read_no_value(recipe, reads):
    recipe.objective.terms = {"soft_median": {"weight": 1.0}, "hard_median": {"weight": 1.0}}
    assert reads(9) == reads(3)


def test_batches_are_copied_to_a_gpu_without_waiting(recipe, tmp_path):
    arguments = {d: training_arguments(recipe.training, tmp_path, 3, d) for d in ("cuda", "cpu")}
    assert arguments["cuda"].dataloader_pin_memory
    assert arguments["cuda"].accelerator_config.non_blocking
    assert not arguments["cpu"].accelerator_config.non_blocking


def test_a_read_in_a_term_is_counted(recipe, reads, term):
    """The count would see a value that a term reads in each step."""

    def call(self, inputs):
        loss = inputs.student.forecast.values.mean(dim=(1, 2))
        return loss if loss.sum() > 0 else loss + 1

    term("impatient", call)
    recipe.objective.terms = {"impatient": {"weight": 1.0}}
    assert reads(9) == reads(3) + 6
