"""Reading labels: the right row for every id, from the right store, whatever the order, thread or process."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from label_fakes import FakeTeacher, FakeWindows

from potstill.errors import UserError
from potstill.teaching.stores.forecasts import LabelledWindows, LabelStore
from potstill.teaching.stores.make import make_labels

TEACHER, WINDOWS = FakeTeacher(), FakeWindows(100)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_labels(TEACHER, WINDOWS, tmp_path_factory.mktemp("store") / "labels", shard_windows=16, batch_size=8)


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, 99), min_size=1, max_size=40))
def test_any_ids_in_any_order_get_their_own_forecast(store, ids):
    windows = WINDOWS.__getitems__(ids)
    live = TEACHER.predict(windows.context, 4)
    stored = store.attach(windows).labels
    assert stored.values.dtype == torch.float32
    assert stored.values.shape == (len(ids), 3, 4)
    torch.testing.assert_close(stored.values, live.values, rtol=2**-10, atol=0)
    assert torch.equal(stored.loc, live.loc)
    assert torch.equal(stored.scale, live.scale)
    assert stored.arcsinh
    assert torch.equal(stored.levels, live.levels)


def test_attach_keeps_everything_else_of_the_windows(store):
    windows = WINDOWS.__getitems__([5, 3])
    attached = store.attach(windows)
    assert attached.context is windows.context
    assert attached.ids.tolist() == [5, 3]
    assert windows.labels is None
    assert torch.equal(store.attach(windows, horizon=3).labels.values, attached.labels.values[:, :, :3])


def test_reads_agree_over_threads_and_after_pickling(store):
    fresh = LabelStore.open(store.folder)
    batches = [np.random.default_rng(seed).integers(0, 100, 64) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda ids: fresh.forecast(ids).values, batches))
    copy = pickle.loads(pickle.dumps(fresh))
    for ids, batch in zip(batches, values, strict=True):
        assert torch.equal(batch, store.forecast(ids).values)
        assert torch.equal(batch, copy.forecast(ids).values)


def test_missing_ids_are_named_with_the_remedy(tmp_path):
    store = make_labels(TEACHER, WINDOWS, tmp_path / "part", shard_windows=16, count=32)
    assert len(store.forecast([0, 31]).values) == 2
    assert store.labelled() == 32
    with pytest.raises(
        UserError, match=r"2 of 3 windows asked for have no labels \(the first is window 40\).*label the"
    ):
        store.forecast([1, 40, 50])


def test_a_reader_sees_shards_that_arrive_later(tmp_path):
    store = make_labels(TEACHER, WINDOWS, tmp_path / "part", shard_windows=16, count=16)
    with pytest.raises(UserError, match="have no labels"):
        store.forecast([20])
    make_labels(TEACHER, WINDOWS, tmp_path / "part", shard_windows=16, first=16, count=16)
    assert len(store.forecast([20]).values) == 1


@pytest.mark.parametrize(
    ("teacher", "windows", "message"),
    [
        (FakeTeacher(gain=2.0, name="other"), None, "come from another teacher .*yours is other"),
        (None, FakeWindows(100, salt="2"), "belong to other data"),
        (None, FakeWindows(100, context=20), "context_length 16, this run has 20"),
        (None, FakeWindows(100, horizon=8), "prediction_length 4, this run has 8"),
        (None, FakeWindows(100, stores_inputs=True), "belong to other data"),
    ],
)
def test_a_foreign_teacher_or_data_set_is_refused_by_name(store, teacher, windows, message):
    with pytest.raises(UserError, match=message):
        LabelStore.open(store.folder, dataset=windows, forecaster=teacher)
    with pytest.raises(UserError, match=message):
        make_labels(teacher or TEACHER, windows or WINDOWS, store.folder, shard_windows=16)
    LabelStore.open(store.folder, dataset=WINDOWS, forecaster=TEACHER)


def test_a_teacher_in_another_precision_is_refused(store):
    teacher = FakeTeacher()
    teacher.module.to(torch.bfloat16)
    with pytest.raises(UserError, match=r"weights in float32, this teacher is in bfloat16"):
        LabelStore.open(store.folder, forecaster=teacher)


def test_an_edited_or_missing_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no labels \(no labels\.json\)"):
        LabelStore.open(tmp_path)
    store = make_labels(TEACHER, WINDOWS, tmp_path / "labels", shard_windows=64)
    manifest = store.folder / "labels.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"prediction_length": 4', '"prediction_length": 5'))
    with pytest.raises(UserError, match="changed since it was written"):
        LabelStore.open(store.folder)
    manifest.write_text(text[:50])
    with pytest.raises(UserError, match="not a label manifest"):
        LabelStore.open(store.folder)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "swap"])
def test_a_damaged_shard_is_reported_with_its_file_and_made_anew(tmp_path, damage):
    store = make_labels(TEACHER, WINDOWS, tmp_path / "labels", shard_windows=16)
    path = store.folder / "shard-00000002.safetensors"
    whole = path.read_bytes()
    other = (store.folder / "shard-00000001.safetensors").read_bytes()
    flipped = bytearray(whole)
    flipped[-40] ^= 1
    path.write_bytes({"truncate": whole[:-100], "flip": bytes(flipped), "empty": b"", "swap": other}[damage])
    fresh = LabelStore.open(store.folder)
    fresh.forecast([0, 31, 48])
    with pytest.raises(UserError, match=r"shard-00000002\.safetensors: is .*run the `potstill label` command"):
        fresh.forecast([0, 32])
    seen = TEACHER.windows_seen
    make_labels(TEACHER, WINDOWS, store.folder, shard_windows=16)
    assert TEACHER.windows_seen - seen == 16
    assert path.read_bytes() == whole
    assert len(fresh.forecast([32]).values) == 1


def test_windows_come_from_a_store_that_holds_inputs_as_they_were_labelled(tmp_path):
    source = FakeWindows(50, stores_inputs=True)
    store = make_labels(TEACHER, source, tmp_path / "labels", shard_windows=16)
    data = LabelledWindows(LabelStore.open(store.folder), length=40)
    assert len(data) == 40
    ids = [39, 0, 17]
    windows, expected = data.__getitems__(ids), source.__getitems__(ids)
    for name in ("context", "future", "ids", "series", "origin"):
        torch.testing.assert_close(getattr(windows, name), getattr(expected, name), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(windows.labels.values, store.forecast(ids).values)


def test_a_store_without_inputs_gives_no_windows(store):
    with pytest.raises(UserError, match="labels without inputs"):
        store.windows([0])


def test_what_differs_in_the_data_is_named(tmp_path):
    made = {"data": {"split": "suite", "stride": 1, "paths": ["a.csv"]}, "training": {"seed": 0}, "teacher": {"x": 1}}
    store = make_labels(TEACHER, WINDOWS, tmp_path / "labels", provenance=made)
    other = FakeWindows(100, salt="2")
    asked = {"data": {**made["data"], "split": "8:1:1"}, "training": {"seed": 3}, "teacher": {"x": 2}}
    says = r"were made with data\.split suite, this run has 8:1:1; training\.seed 0, this run has 3\."
    with pytest.raises(UserError, match=says):
        LabelStore.open(store.folder, other, settings=asked)
    with pytest.raises(UserError, match=says):
        make_labels(TEACHER, other, store.folder, provenance=asked)
    with pytest.raises(UserError, match="belong to other data"):
        LabelStore.open(store.folder, other, settings=made)


def test_gigantic_levels_survive(tmp_path):
    store = make_labels(TEACHER, WINDOWS, tmp_path / "labels")
    ids = [99]
    live = TEACHER.predict(WINDOWS.__getitems__(ids).context, 4)
    torch.testing.assert_close(store.forecast(ids).quantiles, live.quantiles, rtol=0, atol=0.05)
