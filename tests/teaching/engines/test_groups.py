"""Labelling windows in groups: none is split, none is forecast without its covariates, shards keep them whole."""

from __future__ import annotations

import pytest
import torch
from label_fakes import FakeTeacher, FakeWindows, GroupedWindows, GroupTeacher
from usage_errors import usage_error

from potstill.teaching.engines.forecasts import label_forecasts


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("stores_inputs", [False, True])
def test_labels_are_the_forecast_of_whole_groups_in_the_order_of_ids(tmp_path, batch_size, stores_inputs):
    source, teacher = GroupedWindows(40, stores_inputs=stores_inputs), GroupTeacher()
    store = label_forecasts(teacher, source, tmp_path / "labels", shard_windows=15, batch_size=batch_size)
    live = GroupTeacher().predict(source.batch(range(40)), 4, batch_size=1000)
    stored = store.forecast(range(40))
    torch.testing.assert_close(stored.values, live.values, rtol=2**-10, atol=0)
    assert torch.equal(stored.loc, live.loc)
    for ids in teacher.passes[1:]:  # the first is the probe
        groups = {i // 3 for i in ids}
        assert sorted(ids) == sorted(i for i in range(40) if i // 3 in groups)
        assert len(ids) <= max(batch_size, 3)


def test_windows_without_groups_are_labelled_in_the_order_of_their_ids(tmp_path):
    teacher = FakeTeacher()
    label_forecasts(teacher, FakeWindows(20), tmp_path / "labels", shard_windows=16, batch_size=5)
    passes = [[0], [*range(5)], [*range(5, 10)], [*range(10, 15)], [15], [*range(16, 20)]]
    assert teacher.passes == passes


def test_a_group_over_the_edge_of_a_shard_is_refused_before_the_teacher_is_asked(tmp_path):
    teacher = GroupTeacher()
    with usage_error("labels.group_in_two_shards", "group 995", "windows 0 to 15", "now 16"):
        label_forecasts(teacher, GroupedWindows(45), tmp_path / "labels", shard_windows=16)
    with usage_error("labels.group_in_two_shards", "group 990", "windows 16 to 31"):
        label_forecasts(teacher, GroupedWindows(45), tmp_path / "labels", shard_windows=16, first=16, count=16)
    assert teacher.windows_seen == 1  # the probe
    assert not list((tmp_path / "labels").glob("shard-*"))


def test_a_group_with_a_straggler_in_a_later_shard_is_refused(tmp_path):
    class Scattered(GroupedWindows):
        def batch(self, ids):
            windows = super().batch(ids)
            assert windows.group is not None
            windows.group[windows.ids == 25] = 1000
            return windows

    with usage_error("labels.group_in_two_shards", "group 1000", "windows 15 to 29"):
        label_forecasts(GroupTeacher(), Scattered(45), tmp_path / "labels", shard_windows=15)


def test_a_teacher_that_cannot_use_groups_is_refused_before_anything_is_written(tmp_path):
    with usage_error("model.no_groups", "fake: "):
        label_forecasts(FakeTeacher(), GroupedWindows(), tmp_path / "labels", shard_windows=15)
    assert not list((tmp_path / "labels").iterdir())
