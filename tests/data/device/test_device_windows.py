"""The data set of windows made on the device: batches by number, their lengths and sizes, groups, and no waiting."""

import numpy as np
import pytest
import torch
from device_sources import small_source
from value_reads import Reads

from potstill.data.device.windows import _divided
from potstill.families.chronos2.rows import rows_of

GROUPS = {"share": 1.0, "sizes": [2, 3]}


def same(one, other) -> bool:
    names = ("context", "future", "ids", "series", "origin", "dataset", "group", "future_covariates")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all((a is None) == (b is None) for a, b in pairs) and all(
        a.shape == b.shape and torch.equal(a.nan_to_num(-7.0), b.nan_to_num(-7.0)) for a, b in pairs if a is not None
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_batch_depends_on_its_number_alone(tmp_path, share):
    groups = {"groups": {"share": share}}
    first, other = (
        small_source(tmp_path, device=groups).dataset(10**6),
        small_source(tmp_path, device=groups).dataset(64),
    )
    wanted = first.batch(range(640, 672))
    first.batch(range(32))
    assert same(first.batch(range(640, 672)), wanted)
    assert same(other.batch(range(640, 672)), wanted)
    assert not same(first.batch(range(672, 704)), wanted)
    assert (len(first), len(other)) == (10**6, 64)


def test_another_seed_gives_other_windows(tmp_path):
    source = small_source(tmp_path)
    before = source.dataset(9).batch(range(8))
    source.seed = 1
    assert not same(source.dataset(9).batch(range(8)), before)


def test_lengths_vary_from_batch_to_batch_and_long_contexts_have_fewer_windows(tmp_path):
    lengths = {"contexts": {16: 1.0, 32: 1.0, 64: 2.0}, "horizons": {4: 1.0, 16: 1.0}, "batch_context": 32}
    dataset = small_source(tmp_path, device=lengths).dataset(10**6)
    found = [dataset.batch(range(k * 24, k * 24 + 24)) for k in range(200)]
    shapes = [(*batch.context.shape, batch.future.shape[1]) for batch in found]
    assert set(shapes) == {(n, c, h) for n, c in ((24, 16), (24, 32), (12, 64)) for h in (4, 16)}
    assert np.mean([c == 64 for _, c, _ in shapes]) == pytest.approx(0.5, abs=0.1)


def test_real_windows_say_where_they_are_from(tmp_path):
    source = small_source(tmp_path, synthetic=0.0, augmented=0.0)
    batch = source.dataset(64).batch(range(64))
    assert batch.dataset is not None
    store = source.store
    assert batch.ids.tolist() == list(range(64))
    assert torch.equal(batch.dataset, torch.from_numpy(store.dataset_of[batch.series.numpy()].astype(np.int64)))
    bounds = {int(i): store.lengths[i] * 8 // 10 for i in np.unique(batch.series.numpy())}
    checked = 0
    for k in range(64):
        x = store.series(int(batch.series[k])).astype(np.float64)[: bounds[int(batch.series[k])]]
        origin, known = int(batch.origin[k]), ~batch.future[k].isnan().numpy()
        future = x[origin : origin + 16]
        if known[: len(future)].all() and len(future) == 16:
            expected = (future - x.mean()) / x.std()
            found = batch.future[k].numpy()
            if np.allclose(np.abs(found), np.abs(expected), atol=1e-4):  # others are aggregated
                checked += 1
    assert checked > 30


def test_without_groups_windows_stand_alone(tmp_path):
    dataset = small_source(tmp_path, device={"groups": {"share": 0.5}}).dataset(10**6)
    alone = [dataset.batch(range(k * 30, k * 30 + 30)).stands_alone for k in range(200)]
    assert np.mean(alone) == pytest.approx(0.5, abs=0.1)


def test_each_batch_has_group_numbers_of_its_own(tmp_path):
    """A hash of the number decides which groups are labelled."""
    dataset = small_source(tmp_path, device={"groups": GROUPS}).dataset(10**6)
    first, second = (set(dataset.batch(range(k * 60, k * 60 + 60)).group.tolist()) for k in (0, 1))
    assert len(first) >= 20
    assert not first & second


def test_groups_hold_windows_and_covariates_of_one_size(tmp_path):
    dataset = small_source(tmp_path, device={"groups": GROUPS}).dataset(10**6)
    covariates = set()
    for k in range(40):
        batch = dataset.batch(range(k * 60, k * 60 + 60))
        sizes = (batch.group - batch.group.min()).bincount()
        rows = rows_of(batch, batch.future.shape[1])
        in_group = (rows.group - rows.group.min()).bincount()
        assert in_group.unique().numel() == 1  # of windows and covariates together
        assert int(in_group[0]) in (2, 3)
        assert len(rows.context) == pytest.approx(60, abs=3)
        assert (batch.group.diff() >= 0).all()
        if batch.future_covariates is not None:
            assert batch.future_covariates.shape[2] == 80
            covariates |= set((in_group - sizes).tolist())
    assert covariates == {0, 1, 2}


def test_kinds_of_groups(tmp_path):
    columns = small_source(tmp_path / "a", device={"groups": {**GROUPS, "sizes": [2], "kinds": {"columns": 1.0}}})
    batch = columns.dataset(99).batch(range(60))
    assert (batch.series >= 0).all()
    driven = small_source(tmp_path / "b", device={"groups": {**GROUPS, "kinds": {"driven": 1.0}}})
    assert (driven.dataset(99).batch(range(60)).series == -1).all()
    # columns need a table that is wide enough; the other kinds then take their share
    narrow = small_source(tmp_path / "c", device={"groups": {"share": 1.0, "sizes": [3]}})
    assert set(narrow.kinds) == {"driven", "latent"}
    assert _divided(10, {"driven": 0.45, "latent": 0.35, "columns": 0.2}) == {"driven": 4, "latent": 4, "columns": 2}
    assert _divided(1, {"driven": 0.2, "latent": 0.8}) == {"latent": 1}


def test_windows_hold_no_rows_after_the_training_part(tmp_path):
    plain, later = (
        small_source(tmp_path / name, later=value, missing=0.1, device={"groups": {"share": 0.5}})
        for name, value in (("a", None), ("b", 1e6))
    )
    for k in range(12):
        ids = range(k * 40, k * 40 + 40)
        assert same(plain.dataset(9).batch(ids), later.dataset(9).batch(ids))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_making_a_batch_reads_no_value_from_the_device(tmp_path, share):
    """Each read would wait for all that is queued there."""
    dataset = small_source(tmp_path, missing=0.1, device={"groups": {"share": share}}).dataset(10**6)
    dataset.batch(range(8))  # fills the pool
    with Reads() as reads:
        for k in range(10):
            dataset.batch(range(k * 40, k * 40 + 40))
    assert reads.count == 0
    assert reads.operations / 10 < 700  # each is a launch on a GPU or less


def test_synthetic_windows_need_no_real_series(tmp_path):
    source = small_source(tmp_path, synthetic=1.0, augmented=0.0, device={"groups": {"share": 0.5}})
    assert source.real is None
    for k in range(6):
        batch = source.dataset(99).batch(range(k * 20, k * 20 + 20))
        assert (batch.series == -1).all()
        assert (batch.dataset == -1).all()
        assert batch.future.isfinite().any(dim=1).all()
