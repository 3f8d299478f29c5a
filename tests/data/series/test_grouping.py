"""Windows of series that are forecast together show the others' past."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from usage_errors import usage_error

import potstill
from potstill.data.series.opening import store_from_frame
from potstill.data.series.store import Store
from potstill.data.series.windows import SeriesWindows
from potstill.families.base import Forecaster
from potstill.recipe import SeriesData

C, H = 12, 4


def ragged() -> pd.DataFrame:
    """Items of two shops over other spans of months; values count the months since 2010 and tell the items apart."""
    parts = []
    for item, shop, first, count in (("a", "n", "2010-01", 60), ("b", "s", "2010-04", 50), ("c", "n", "2011-01", 30)):
        months = pd.date_range(first, periods=count, freq="MS")
        values = 1000.0 * "abc".index(item) + (months.year - 2010) * 12 + months.month - 1
        parts.append(pd.DataFrame({"shop": shop, "item": item, "month": months, "sold": values}))
    return pd.concat(parts, ignore_index=True)


def opened(tmp_path: Path, by: str | None, frame: pd.DataFrame | None = None, **more: Any) -> tuple[Store, SeriesData]:
    data = SeriesData(groups=by, context_length=C, prediction_length=H, split="8:1:1", **more)
    table = ragged() if frame is None else frame
    return store_from_frame(table, data, tmp_path), data


def test_rows_of_other_series_are_those_of_the_same_months(tmp_path):
    store, data = opened(tmp_path, "table", id_column=["shop", "item"], time_column="month")
    windows = SeriesWindows(store, data, "train")
    batch = windows.batch(np.arange(len(windows)))
    assert batch.past_covariates is not None
    assert batch.past_covariates.shape == (len(windows), 2, C)
    for row in range(len(batch)):
        i, month = int(batch.series[row]), np.nanmax(batch.context[row].numpy()) % 1000
        months = month - C + 1 + np.arange(C)  # since 2010
        for place, j in enumerate(k for k in range(3) if k != i):
            first, count = [(0, 60), (3, 50), (12, 30)][j]
            inside = (months >= first) & (months < first + count)
            expected = np.where(inside, 1000 * j + months, np.nan)
            np.testing.assert_array_equal(batch.past_covariates[row, place].numpy(), expected.astype(np.float32))


def test_an_id_column_names_the_groups(tmp_path):
    store, data = opened(tmp_path, "shop", id_column=["shop", "item"], time_column="month")
    assert store.groups is not None
    assert [group.tolist() for group in store.groups.members] == [[0, 2], [1]]
    batch = SeriesWindows(store, data, "train").batch([0])
    assert batch.past_covariates is not None
    assert batch.past_covariates.shape == (1, 1, C)
    alone = SeriesWindows(store, data, "train")
    of_b = alone.batch(np.array([i for i in range(len(alone)) if alone.locate(np.array([i]))[0][0] == 1]))
    assert of_b.past_covariates is not None
    assert bool(of_b.past_covariates.isnan().all())


def test_groups_change_the_fingerprint_and_survive_pickling(tmp_path):
    store, data = opened(tmp_path, "table", id_column=["shop", "item"], time_column="month")
    alone, _ = opened(tmp_path, None, id_column=["shop", "item"], time_column="month")
    assert store.folder == alone.folder
    assert store.fingerprint != alone.fingerprint
    again = pickle.loads(pickle.dumps(store))
    found, wanted = (SeriesWindows(one, data, "train").batch([3]).past_covariates for one in (again, store))
    assert found is not None
    assert wanted is not None
    torch.testing.assert_close(found, wanted, equal_nan=True)


def test_what_does_not_fit(tmp_path):
    with usage_error("data.no_group_column", "'region'", "item, shop"):
        opened(tmp_path, "region", id_column=["shop", "item"], time_column="month")
    with usage_error("data.groups_of_one"):
        opened(tmp_path, "item", id_column=["item"], time_column="month", frame=ragged().drop(columns="shop"))
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 40)), pd.date_range("2024", periods=60))
    with usage_error("data.group_too_large", "40 series"):
        opened(tmp_path, "table", frame=wide)


@pytest.mark.parametrize("count", [2, 4])
def test_a_table_is_forecast_as_several_targets_in_predict_df(tiny_teacher: Path, count: int):
    """``predict_df`` with several targets equals chronos-forecasting."""
    rng = np.random.default_rng(0)
    names = [f"v{k}" for k in range(count)]
    frame = pd.DataFrame(rng.normal(size=(64, count)).cumsum(0), columns=pd.Index(names))
    frame.insert(0, "day", pd.date_range("2024-01-01", periods=64))
    model = potstill.load(tiny_teacher)
    assert isinstance(model, Forecaster)
    levels = [round(level, 6) for level in model.levels.tolist()]
    joint = model.predict_df(frame.assign(item="x"), None, "item", "day", names, 6, levels)
    expected = np.sort(joint[[str(level) for level in levels]].to_numpy(), axis=1)
    table = potstill.forecast(model, frame, 6, groups="table", quantiles=levels)
    np.testing.assert_allclose(table[[f"q{level:g}" for level in levels]], expected, rtol=1e-4, atol=1e-4)
    alone = potstill.forecast(model, frame, 6, quantiles=levels)
    assert np.abs(alone[[f"q{level:g}" for level in levels]].to_numpy() - expected).max() > 1e-2
