"""What the data loader gives is the same in any number of worker processes, with stored targets and with groups."""

from __future__ import annotations

import pickle
from dataclasses import fields

import pytest
import torch
from torch.utils.data import DataLoader
from training_fakes import small_run
from transformers import TrainerCallback

from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData
from potstill.training.batches import TrainingBatches, identity_collator
from potstill.types import Windows


def batches(data: TrainingData, workers: int) -> list[dict]:
    order = [[5, 3, 11], [0, 1, 2], [7, 7, 4], [9, 10, 8]]
    loader = DataLoader(TrainingBatches(data), batch_sampler=order, num_workers=workers, collate_fn=identity_collator)
    return list(loader)


def assert_equal(first: Windows, second: Windows) -> None:
    for field in fields(Windows):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if one is None:
            assert other is None
        else:
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shares", [{}, {"synthetic": 0.3, "augmented": 0.3}])
def test_workers_give_equal_batches(recipe, tmp_path, shares):
    for key, value in shares.items():
        setattr(recipe.data, key, value)
    task = prepare_forecasting(recipe)
    labels = task.label(tmp_path / "labels")
    data = TrainingData(labels.dataset(task.dataset(task.steps)), labels)
    for here, there in zip(batches(data, 0), batches(data, 2), strict=True):
        assert_equal(here["batch"], there["batch"])
        ((name, one),), ((other, two),) = here["targets"].items(), there["targets"].items()
        assert name == other
        assert torch.equal(one.forecast.values, two.forecast.values)


class GroupedWindows:
    """Windows in groups, with covariates that tell their id."""

    stores_inputs = False

    def __len__(self) -> int:
        return 12

    def batch(self, ids) -> Windows:
        ids = torch.as_tensor(ids)
        value = ids[:, None].float()
        return Windows(
            context=value + torch.arange(6),
            future=value + torch.arange(6, 10),
            ids=ids,
            series=ids,
            origin=ids,
            dataset=ids % 2,
            group=ids // 3,
            past_covariates=value[:, None] + torch.zeros(len(ids), 2, 6),
            future_covariates=value[:, None] + torch.zeros(len(ids), 1, 10),
        )


def test_groups_and_covariates_survive_workers():
    data = TrainingData(GroupedWindows())
    for here, there in zip(batches(data, 0), batches(data, 2), strict=True):
        assert_equal(here["batch"], there["batch"])
        assert here["batch"].group.tolist() == [i // 3 for i in here["batch"].ids.tolist()]


def test_the_data_set_of_a_window_comes_along(recipe):
    windows = prepare_forecasting(recipe).dataset(12).batch([0, 3])
    assert windows.dataset.tolist() == [0, 0]
    assert pickle.loads(pickle.dumps(windows)).dataset.tolist() == [0, 0]


def test_nothing_that_a_worker_has_sent_is_kept_until_the_next_line_of_the_log(recipe, tmp_path):
    recipe.training.arguments = {"dataloader_num_workers": 1, "logging_steps": 10**6}
    recipe.training.max_steps = 3
    trainer = small_run(recipe, validate=lambda _: {"sql": 1.0}).trainer(tmp_path, [])
    shared = []

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            shared.extend(kept.is_shared() for logged in trainer.since_log for kept in (logged.ids, logged.series))

    trainer.add_callback(Look())
    trainer.train()
    assert shared
    assert not any(shared)
