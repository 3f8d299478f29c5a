"""Training on windows that are made on the device: resuming, horizons of batches, teachers of single windows alone."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from training_fakes import Stop, Watched, log_lines, small_run, stopping
from usage_errors import usage_error

from potstill.recipe import Recipe
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.training import run as run_module
from potstill.training.arguments import training_arguments
from potstill.training.trainer import DistillationTrainer

DEVICE = {
    "pool": 30,
    "refresh": False,
    "workers": 0,
    "contexts": {32: 1.0, 64: 1.0},
    "horizons": {16: 1.0, 32: 1.0},
    "groups": {"share": 0.5, "sizes": [2, 3]},
}


def on_device(recipe, **changes):
    """The small recipe with windows made on the device: half of the batches in groups."""
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    tree["data"] |= {"synthetic": 0.5, "augmented": 0.2, "device": deepcopy(DEVICE)}
    return Recipe.lay_over(tree, changes)


@pytest.fixture
def given(recipe):
    return on_device(recipe)


def watched(run, look) -> None:
    """Let ``look`` see what the teacher is asked and answers."""
    assert run.data.provider is not None
    run.data.provider = Watched(run.data.provider, look)


def weights(run):
    return load_file(run / "student" / "model.safetensors")


def test_a_run_with_a_fixed_pool_resumes_bit_for_bit(given, tmp_path):
    small_run(given, validate=lambda _: {"sql": 1.0}).run(tmp_path / "whole", resume=False)
    with pytest.raises(Stop):
        small_run(given, validate=stopping(3)).run(tmp_path / "parts", resume=False)
    small_run(given, validate=lambda _: {"sql": 1.0}).run(tmp_path / "parts", resume=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    logs = [log_lines(tmp_path / name) for name in ("whole", "parts")]
    for line in [*logs[0], *logs[1]]:
        line.pop("windows_per_second", None), line.pop("seconds", None)
    assert logs[0] == logs[1]


def test_student_and_teacher_forecast_the_horizon_of_the_batch(given, tmp_path):
    seen = []

    def look(batch, outputs):
        (output,) = outputs.values()
        seen.append((batch.future.shape[1], output.forecast.values.shape[2], batch.stands_alone))

    run = small_run(given)
    watched(run, look)
    run.run(tmp_path, resume=False)
    assert {(horizon, forecast) for horizon, forecast, _ in seen} == {(16, 16), (32, 32)}
    assert {alone for *_, alone in seen} == {True, False}


def test_groups_can_be_trained_on_the_truth_alone(recipe, tmp_path):
    given = on_device(recipe, **{"objective.grouped": "truth", "objective.alpha": 0.6, "training.batch_size": 6})
    asked = []
    run = small_run(given)
    watched(run, lambda batch, _: asked.append(batch.stands_alone))
    run.run(tmp_path, resume=False)
    alone = [run.data.dataset.batch(range(k * 6, k * 6 + 6)).stands_alone for k in range(12)]
    assert asked == [True] * sum(alone)
    assert 0 < sum(alone) < 12
    lines = log_lines(tmp_path, "train")
    for single, line in zip(alone, lines, strict=True):
        terms = line["terms"]
        total = 0.4 * terms["pinball"] + (0.6 * terms["expected_pinball"] if single else 0)
        assert set(terms) == ({"pinball", "expected_pinball"} if single else {"pinball"})
        assert line["loss"] == pytest.approx(total, abs=1e-5)


def test_terms_are_averaged_over_the_batches_that_had_them(recipe, tmp_path):
    given = on_device(recipe, **{"objective.grouped": "truth", "objective.alpha": 0.6})
    every = {"training.arguments": {"logging_steps": 1}}
    several = {"training.arguments": {"logging_steps": 12}, "training.eval_steps": 12}
    found = []
    for name, changes in (("one", every), ("twelve", several)):
        tree = given.model_dump(mode="json", exclude_unset=True)
        small_run(Recipe.lay_over(tree, changes), validate=lambda _: {"sql": 1.0}).run(tmp_path / name, resume=False)
        found.append([line["terms"] for line in log_lines(tmp_path / name, "train")])
    single, (mean,) = found
    for term in ("pinball", "expected_pinball"):
        values = [terms[term] for terms in single if term in terms]
        assert mean[term] == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_groups_without_truth_have_no_loss(recipe):
    with usage_error("objective.grouped_without_truth", "grouped", "alpha"):
        on_device(recipe, **{"objective.grouped": "truth", "objective.alpha": 1.0})


def test_group_attention_learns_from_groups_alone(recipe, tmp_path):
    """Queries and keys of the attention within groups have a gradient where there are groups."""
    begin = small_run(recipe).student.module.state_dict()
    name = "encoder.block.0.layer.1.self_attention.q.weight"
    moved = {}
    for share in (0.0, 1.0):
        given = on_device(
            recipe, **{"data.device.groups.share": share, "training.max_steps": 3, "objective.alpha": 0.0}
        )
        given.training.weight_decay = 0.0
        run = small_run(given, validate=lambda _: {"sql": 1.0})
        run.run(tmp_path / str(share), resume=False)
        moved[share] = not torch.equal(weights(tmp_path / str(share))[name], begin[name])
    assert moved == {0.0: False, 1.0: True}


def test_several_batches_of_a_step_are_weighted_by_their_windows(recipe, tmp_path, monkeypatch):
    """A batch of long contexts has fewer windows than the others of its step."""
    changes = {"data.device.groups.share": 0.0, "data.device.batch_context": 32, "objective.alpha": 0.0}
    given = on_device(recipe, **changes)
    given.training.accumulate, given.training.max_steps, given.training.eval_steps = 2, 6, 6
    shares, found = DistillationTrainer._shares, []

    def noted(self, counts):
        found.append(shares(self, counts)["windows"])
        return {"windows": found[-1]}

    monkeypatch.setattr(DistillationTrainer, "_shares", noted)
    run = small_run(given, validate=lambda _: {"sql": 1.0})
    run.run(tmp_path, resume=False)
    sizes = [len(run.data.dataset.batch(range(k * 8, k * 8 + 8))) for k in range(12)]
    assert set(sizes) == {4, 8}
    totals = [first + second for first, second in zip(sizes[::2], sizes[1::2], strict=True)]
    assert found == pytest.approx([2 * size / totals[k // 2] for k, size in enumerate(sizes)])


def test_the_whole_training_runs_without_cudnn(given, tmp_path, monkeypatch):
    within = []

    @contextmanager
    def noted(device):
        within.append(str(device))
        yield
        within.append("end")

    monkeypatch.setattr(run_module, "without_cudnn", noted)
    small_run(given, validate=lambda _: within.append("validated") or {"sql": 1.0}).run(tmp_path, resume=False)
    assert (within[0], within[1], within[-1]) == ("cpu", "validated", "end")


def test_the_loader_has_no_processes_and_copies_nothing(given, tmp_path):
    run = small_run(given)
    arguments = training_arguments(given.training, tmp_path, 3, "cuda", **run._loader())
    assert (arguments.dataloader_num_workers, arguments.dataloader_pin_memory) == (0, False)
    assert not arguments.dataloader_persistent_workers
    assert not arguments.accelerator_config.non_blocking
    assert small_run(on_device_off(given))._loader() == {}


def on_device_off(recipe):
    return Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), {"data.device": None})


def test_all_data_sets_of_a_run_share_one_pool(given):
    task = prepare_forecasting(given)
    assert task.dataset(3).source is task.dataset(12).source


def test_series_shorter_than_a_window_are_used_and_shorter_ones_reported(recipe, tmp_path):
    rng = np.random.default_rng(0)
    for name, rows in (("short", 30), ("tiny", 12)):
        frame = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=rows, freq="h"), "y": rng.normal(size=rows)})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    more = {"data.paths": [*recipe.data.paths, str(tmp_path)], "data.train_only": [str(tmp_path)]}
    task = prepare_forecasting(on_device(recipe, **more))
    (left_out,) = (line for line in task.source_lines() if "left out" in line)
    assert "1 series (its train part has fewer than 16 known values): tiny/y" in left_out
    used = task.dataset(3).source.real.index
    assert "short/y" in [task.store.names[i] for i in used.tolist()]
    whole = prepare_forecasting(on_device_off(on_device(recipe, **more)))
    assert "2 series (its train part is too short for" in "\n".join(whole.source_lines())


def test_a_student_that_knows_no_groups_is_refused(recipe):
    given = on_device(recipe, student="mixer:num_layers=1,d_model=16,d_ff=16,patch_size=16")
    run = small_run(given)
    with usage_error("model.no_groups", "mixer", "share: 0"):
        run.check(run.step())


def test_windows_made_on_the_device_have_no_labels(recipe, tmp_path):
    with usage_error("data.device_with_labels", "labels"):
        on_device(recipe, labels=str(tmp_path / "labels"))
    with usage_error("data.device_with_labels", "data.device"):
        prepare_forecasting(on_device(recipe)).label(tmp_path / "labels")
    tree = on_device(recipe).model_dump(mode="json", exclude_unset=True)
    del tree["objective"]
    with usage_error("data.device_with_gkd", "data.device"):
        Recipe.lay_over(tree, {"training.algorithm": "gkd"})
