"""Reading forecasts: the right row for every id, whatever the order, thread or process; torn shards are named."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from label_fakes import FakeTeacher, FakeWindows
from usage_errors import usage_error

from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.stores.forecasts import ForecastStore

TEACHER, WINDOWS = FakeTeacher(), FakeWindows(100)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "labels"
    return label_forecasts(TEACHER, WINDOWS, folder, shard_windows=16, batch_size=8)


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, 99), min_size=1, max_size=40))
def test_any_ids_in_any_order_get_their_own_forecast(store, ids):
    live = TEACHER.predict(WINDOWS.batch(ids), 4)
    stored = store.forecast(ids)
    assert stored.values.dtype == torch.float32
    assert stored.values.shape == (len(ids), 3, 4)
    torch.testing.assert_close(stored.values, live.values, rtol=2**-10, atol=0)
    assert torch.equal(stored.loc, live.loc)
    assert torch.equal(stored.scale, live.scale)
    assert stored.arcsinh
    assert torch.equal(stored.levels, live.levels)


def test_reads_agree_over_threads_and_after_pickling(store):
    fresh = ForecastStore.open(store.folder)
    batches = [np.random.default_rng(seed).integers(0, 100, 64) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda ids: fresh.forecast(ids).values, batches))
    copy = pickle.loads(pickle.dumps(fresh))
    for ids, batch in zip(batches, values, strict=True):
        assert torch.equal(batch, store.forecast(ids).values)
        assert torch.equal(batch, copy.forecast(ids).values)


def test_missing_ids_are_named_with_the_remedy(tmp_path):
    store = label_forecasts(TEACHER, WINDOWS, tmp_path / "part", shard_windows=16, count=32)
    assert len(store.forecast([0, 31]).values) == 2
    assert store.labelled() == 32
    with usage_error("labels.missing", "2 of 3", "window 40", "potstill label"):
        store.forecast([1, 40, 50])
    with usage_error("labels.missing", "1 of 2", "window -1"):
        store.forecast([1, -1])
    with pytest.raises(ValueError, match="no window ids"):
        store.forecast([])


def test_a_reader_sees_shards_that_arrive_later(tmp_path):
    store = label_forecasts(TEACHER, WINDOWS, tmp_path / "part", shard_windows=16, count=16)
    with usage_error("labels.missing", "window 20"):
        store.forecast([20])
    label_forecasts(TEACHER, WINDOWS, tmp_path / "part", shard_windows=16, first=16, count=16)
    assert len(store.forecast([20]).values) == 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "swap"])
def test_a_damaged_shard_is_reported_with_its_file_and_made_again(tmp_path, damage):
    store = label_forecasts(TEACHER, WINDOWS, tmp_path / "labels", shard_windows=16)
    path = store.folder / "shard-00000002.safetensors"
    whole = path.read_bytes()
    other = (store.folder / "shard-00000001.safetensors").read_bytes()
    flipped = bytearray(whole)
    flipped[-40] ^= 1
    path.write_bytes({"truncate": whole[:-100], "flip": bytes(flipped), "empty": b"", "swap": other}[damage])
    fresh = ForecastStore.open(store.folder)
    fresh.forecast([0, 31, 48])
    with usage_error("labels.torn_shard", "shard-00000002.safetensors", "`potstill label`"):
        fresh.forecast([0, 32])
    seen = TEACHER.windows_seen
    label_forecasts(TEACHER, WINDOWS, store.folder, shard_windows=16)
    assert TEACHER.windows_seen - seen == 16
    assert path.read_bytes() == whole
    assert len(fresh.forecast([32]).values) == 1


def test_a_store_without_inputs_gives_no_windows(store):
    with usage_error("labels.without_inputs", str(store.folder)):
        store.windows([0])


def test_gigantic_levels_survive(tmp_path):
    store = label_forecasts(TEACHER, WINDOWS, tmp_path / "labels")
    ids = [99]
    live = TEACHER.predict(WINDOWS.batch(ids), 4)
    torch.testing.assert_close(store.forecast(ids).quantiles, live.quantiles, rtol=0, atol=0.05)


def test_the_store_says_what_it_knows_of_the_teacher(store):
    info = store.info
    assert (info.name, info.levels, info.max_context, info.max_horizon) == ("fake", (0.1, 0.5, 0.9), 16, 4)
    assert info.signals == info.group_signals == {"forecast"}
