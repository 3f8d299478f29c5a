"""Windows that come from a store: as they were labelled, with groups and covariates."""

from __future__ import annotations

import pickle

import pytest
import torch
from label_fakes import FakeTeacher, FakeWindows, GroupedWindows, GroupTeacher

from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.teaching.stores.windows import StoredWindows
from potstill.types import Windows

PLAIN = ("context", "future", "ids", "series", "origin")
GROUPED = (*PLAIN, "dataset", "group", "past_covariates", "future_covariates")


def assert_same(found: Windows, expected: Windows, names=GROUPED) -> None:
    for name in names:
        ours, theirs = getattr(found, name), getattr(expected, name)
        if theirs is None:
            assert ours is None, name
        else:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_windows_come_from_a_store_that_holds_inputs_as_they_were_labelled(tmp_path):
    source = FakeWindows(50, stores_inputs=True)
    store = label_forecasts(FakeTeacher(), source, tmp_path / "labels", shard_windows=16)
    data = StoredWindows(ForecastStore.open(store.folder), length=40)
    assert len(data) == 40
    ids = [39, 0, 17]
    assert_same(data.batch(ids), source.batch(ids))
    assert_same(data.batch(ids), source.batch(ids))


def test_windows_whose_tensors_share_memory_are_stored(tmp_path):
    class Sharing(FakeWindows):
        def batch(self, ids):
            windows = super().batch(ids)
            windows.series = windows.origin = windows.ids
            return windows

    source = Sharing(5, stores_inputs=True)
    store = label_forecasts(FakeTeacher(), source, tmp_path / "labels", shard_windows=1)
    assert_same(store.windows([4, 2]), source.batch([4, 2]))


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Three shards: one, two and three past covariates; known covariates only in the first."""
    source = GroupedWindows(45, stores_inputs=True)
    folder = tmp_path_factory.mktemp("grouped") / "labels"
    return source, label_forecasts(GroupTeacher(), source, folder, shard_windows=15)


@pytest.mark.parametrize("ids", [[0, 1, 2], [42, 43, 44, 15, 16, 17], [30, 31, 32, 3, 4, 5, 18, 19, 20]])
def test_groups_and_covariates_come_back_padded_to_the_largest_of_the_batch(grouped, ids):
    source, store = grouped
    windows = store.windows(ids)
    assert_same(windows, source.batch(ids))
    assert windows.past_covariates.shape[1] == 1 + max(ids) // 15
    assert (windows.future_covariates is None) == (min(ids) >= 15)
    assert_same(pickle.loads(pickle.dumps(store)).windows(ids), windows)


def test_a_window_without_group_is_its_own_beside_windows_with_groups(tmp_path):
    class Mixed(GroupedWindows):
        """The second shard has neither groups nor covariates."""

        def batch(self, ids):
            windows = super().batch(ids)
            if min(ids) >= 15:
                windows.group = windows.dataset = windows.past_covariates = windows.future_covariates = None
            return windows

    class Teacher(GroupTeacher):
        def forward(self, batch, request):
            return super().forward(batch, request) if batch.group is not None else FakeTeacher().forward(batch, request)

    store = label_forecasts(Teacher(), Mixed(30, stores_inputs=True), tmp_path / "labels", shard_windows=15)
    assert store.windows([20, 21]).stands_alone
    assert store.windows([20, 21]).dataset is None
    windows = store.windows([20, 21, 0, 1, 2])
    assert windows.group.tolist() == [-21, -22, 1000, 1000, 1000]
    assert windows.dataset.tolist() == [-1, -1, 0, 1, 0]
    assert windows.past_covariates is not None
    assert windows.past_covariates[:2].isnan().all()
    assert windows.past_covariates[2:].isfinite().all()


def test_labels_of_windows_read_from_the_store_are_the_teachers_own(grouped):
    source, store = grouped
    ids = [30, 31, 32, 3, 4, 5]
    live = GroupTeacher().predict(store.windows(ids), 4)
    torch.testing.assert_close(store.forecast(ids).values, live.values, rtol=2**-10, atol=0)
    assert torch.equal(GroupTeacher().predict(source.batch(ids), 4).values, live.values)
