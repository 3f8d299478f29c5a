"""Providers that read stores: what a training sees of them is what it sees of the live teacher."""

from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from label_fakes import FakeExamples, FakeTeacher, FakeWindows, GroupedWindows, GroupTeacher
from logit_fakes import tiny_teacher_of_text

from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ObjectiveConfig
from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.engines.logits import label_logits
from potstill.teaching.stored import StoredForecasts, StoredLogits
from potstill.types import Logits, Output, Request, TopLogits

STUDENT = FakeTeacher(gain=0.7)
REQUEST = Request(4)
FORECASTING = {"soft": "quantile_match", "hard": "pinball", "alpha": 0.8}


@pytest.mark.parametrize("stores_inputs", [False, True])
def test_live_teacher_and_labels_give_the_same_loss(tmp_path, stores_inputs):
    teacher = FakeTeacher(levels=tuple(np.linspace(0.05, 0.95, 19).tolist()))
    source = FakeWindows(64, stores_inputs=stores_inputs)
    store = label_forecasts(teacher, source, tmp_path / "labels")
    objective = Objective(ObjectiveConfig(**FORECASTING, terms={"soft_median": {"weight": 0.1}}))
    windows = source.batch(np.arange(64))
    read = store.windows(windows.ids) if stores_inputs else windows
    live = LossInputs(windows, STUDENT.forward(windows, REQUEST), {"fake": teacher.forward(windows, REQUEST)})
    outputs = StoredForecasts(store).outputs(read, {"fake": REQUEST})
    stored = LossInputs(read, STUDENT.forward(read, REQUEST), outputs)
    torch.testing.assert_close(objective(stored)[0], objective(live)[0], rtol=1e-3, atol=0)


def test_the_provider_names_its_teacher_and_survives_pickling(tmp_path):
    source = FakeWindows(40)
    provider = StoredForecasts(label_forecasts(FakeTeacher(), source, tmp_path / "labels", shard_windows=16))
    assert provider.provides == {"forecast"}
    windows = source.batch([3, 30, 17])
    ours = provider.outputs(windows, {"fake": REQUEST})
    theirs = pickle.loads(pickle.dumps(provider)).outputs(windows, {"fake": REQUEST})
    assert list(ours) == list(theirs) == ["fake"]
    assert torch.equal(ours["fake"].forecast.values, theirs["fake"].forecast.values)
    assert windows.ids.tolist() == [3, 30, 17]


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_workers_of_a_data_loader_read_the_store(tmp_path, way):
    """In a process of its own: libraries of other tests have threads in this one, and a fork of it may crash."""
    process = multiprocessing.get_context("spawn").Process(target=_read_in_workers, args=(tmp_path / "labels", way))
    process.start()
    process.join()
    assert process.exitcode == 0


def _read_in_workers(folder, way):
    source = FakeWindows(40, stores_inputs=True)
    store = label_forecasts(FakeTeacher(), source, folder, shard_windows=16)
    expected = store.forecast(range(40)).values  # the parent has shards open
    loader = torch.utils.data.DataLoader(
        torch.arange(40),  # type: ignore[arg-type]  # ids alone: the worker reads what belongs to them
        batch_size=20,
        num_workers=1,
        multiprocessing_context=way,
        collate_fn=Reader(StoredForecasts(store)),
    )
    assert torch.equal(torch.cat(list(loader)), expected)


class Reader:
    """What the data loader does in a worker."""

    def __init__(self, provider: StoredForecasts):
        self.provider = provider

    def __call__(self, ids) -> torch.Tensor:
        windows = self.provider.store.windows(torch.stack(ids))
        return self.provider.outputs(windows, {})["fake"].forecast.values


def test_labels_of_grouped_windows_answer_an_objective_about_groups(tmp_path):
    store = label_forecasts(GroupTeacher(), GroupedWindows(30), tmp_path / "labels", shard_windows=15)
    objective = Objective(ObjectiveConfig(**FORECASTING))
    objective.bind(GroupTeacher().info, StoredForecasts(store).infos, grouped=True)
    assert list(objective.teacher_requests(4)) == ["fake"]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", ["kl", "reverse_kl", "jsd", "skew_kl"])
def test_the_loss_of_stored_logits_is_the_live_one_on_the_same_support(tmp_path, name: str, temperature: float):
    """To 1e-3: the live logits, cut to the support that is stored, in full precision."""
    teacher = tiny_teacher_of_text(tmp_path / "gpt2")
    examples = FakeExamples(teacher.vocabulary)
    provider = StoredLogits(label_logits(teacher, examples, tmp_path / "labels", temperature, kept=16))
    batch = examples.batch(np.arange(20))
    stored = next(iter(provider.outputs(batch, {}).values()))
    live = teacher.forward(batch, Request()).logits
    assert isinstance(live, Logits)
    assert isinstance(stored.logits, TopLogits)
    whole, indices = live.head(live.states), stored.logits.indices
    total = (whole / temperature).logsumexp(dim=1)
    exact = Output(TopLogits(indices, whole.gather(1, indices), total, temperature))
    terms = {name: {"temperature": temperature}}
    objective = Objective(ObjectiveConfig(soft=name, hard="cross_entropy", alpha=0.8, terms=terms))
    student = Output(Logits(torch.randn_like(live.states), live.head))
    losses = [objective(LossInputs(batch, student, {"gpt2": output}))[0].item() for output in (stored, exact)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_stored_logits_are_an_output_of_their_teacher(tmp_path):
    teacher = tiny_teacher_of_text(tmp_path / "gpt2")
    examples = FakeExamples(teacher.vocabulary)
    provider = StoredLogits(label_logits(teacher, examples, tmp_path / "labels", 1.0))
    assert provider.provides == {"logits"}
    batch = examples.batch(np.array([1]))
    outputs = pickle.loads(pickle.dumps(provider)).outputs(batch, {})
    assert list(outputs) == [teacher.source.name]
    output = outputs[teacher.source.name].to("cpu")
    assert isinstance(output.logits, TopLogits)
    assert len(output.logits) == int(batch.answer.sum())
