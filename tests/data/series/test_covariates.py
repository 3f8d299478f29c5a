"""Covariates of a table: what windows get of them, by pandas; text by the target encoding of chronos-forecasting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from chronos.chronos2 import preprocess
from store_files import opened, write
from usage_errors import usage_error

from potstill.data.series.covariates import Covariates, codes_of, encode
from potstill.data.series.store import Store
from potstill.data.series.training_windows import TrainingWindows
from potstill.data.series.windows import SeriesWindows
from potstill.recipe import Recipe, SeriesData
from potstill.types import Windows

CONTEXT, HORIZON = 24, 6
KEYS: dict[str, Any] = {
    "target": ["y"],
    "known": ["promo", "weather"],
    "past": ["visits"],
    "context_length": CONTEXT,
    "prediction_length": HORIZON,
}


@pytest.fixture
def table() -> pd.DataFrame:
    """Two series of 90 days; the target of ``b`` begins five days late and ends three days early."""
    rng = np.random.default_rng(0)
    parts = []
    for item in ("b", "a"):
        frame = pd.DataFrame({"unique_id": item, "ds": pd.date_range("2024-01-01", periods=90)})
        frame["y"] = rng.normal(size=90).round(3)
        frame["promo"] = rng.integers(0, 2, 90)
        frame["weather"] = rng.choice(["sun", "rain", "fog"], 90)
        frame["visits"] = rng.normal(size=90).round(3)
        parts.append(frame)
    table = pd.concat(parts, ignore_index=True)
    table.loc[[*range(5), *range(87, 90)], "y"] = np.nan
    return table


def known_of(batch: Windows) -> torch.Tensor:
    assert batch.future_covariates is not None
    return batch.future_covariates


def covariates_of(store: Store) -> Covariates:
    assert store.covariates is not None
    return store.covariates


def windows_of(folder: Path, table: pd.DataFrame, part: str = "train", **more: Any) -> SeriesWindows:
    write(folder, "sales.csv", table.to_csv(index=False))
    data = SeriesData(paths=["unused"], **{**KEYS, **more})
    keys = {key: getattr(data, key) for key in ("target", "known", "past")}
    return SeriesWindows(opened(folder, **keys), data, part)


def test_windows_bring_the_covariates_of_their_steps(table, tmp_path):
    windows = windows_of(tmp_path, table.sample(frac=1, random_state=0))  # rows out of order
    batch = windows.batch(np.arange(len(windows)))
    assert batch.past_covariates is not None
    assert batch.past_covariates.shape == (len(windows), 1, CONTEXT)
    assert known_of(batch).shape == (len(windows), 2, CONTEXT + HORIZON)
    for row in range(len(windows)):
        item = windows.store.names[batch.series[row]].split("/")[-1]
        own = table[table.unique_id == item].sort_values("ds").iloc[5 * (item == "b") :]
        at = int(batch.origin[row])
        steps = own.iloc[max(at - CONTEXT, 0) : at + HORIZON]
        padding = CONTEXT - min(at, CONTEXT)
        assert batch.context[row, padding:].tolist() == pytest.approx(steps.y[: CONTEXT - padding].tolist())
        assert known_of(batch)[row, 0, padding:].tolist() == steps.promo.tolist()
        assert known_of(batch)[row, 0, :padding].isnan().all()
        assert batch.past_covariates[row, 0, padding:].tolist() == pytest.approx(
            steps.visits[: CONTEXT - padding].tolist()
        )


def test_known_covariates_go_beyond_the_last_target(table, tmp_path):
    store = windows_of(tmp_path, table).store
    b, a = (next(i for i, name in enumerate(store.names) if name.endswith(end)) for end in ("b", "a"))
    assert (store.lengths[b], covariates_of(store).rows[b]) == (82, 85)
    assert (store.lengths[a], covariates_of(store).rows[a]) == (90, 90)
    assert covariates_of(store).block(b)[1, -3:].tolist() == table[table.unique_id == "b"].promo[-3:].tolist()


def test_covariates_are_on_the_grid_of_the_series(table, tmp_path):
    windows = windows_of(tmp_path, table.drop(index=[100, 101]))  # two days of a are not in the table
    a = next(i for i, name in enumerate(windows.store.names) if name.endswith("a"))
    promo = covariates_of(windows.store).block(a)[1]
    assert len(promo) == 90
    assert np.flatnonzero(np.isnan(promo)).tolist() == [10, 11]


def test_text_is_encoded_as_in_chronos_forecasting():
    rng = np.random.default_rng(1)
    text = rng.choice(["sun", "rain", "fog"], 40).tolist()
    text[3] = None
    text[35] = "hail"  # only in the future
    target = rng.normal(5, 2, 30).astype(np.float32)
    target[7] = np.nan
    known: dict[str | None, int] = {}
    codes = codes_of(text, known)
    found = encode(codes[None], target[None], len(known))[0]
    past = pd.Series(text[:30], dtype="category")
    zeros = np.zeros(30, np.intp)
    args = (past, pd.Series(text[30:]), target[None], zeros, zeros[:10], 1, True)
    encoded: Any = preprocess._encode_categorical(*args)
    np.testing.assert_allclose(found, np.concatenate(encoded), rtol=1e-6)


def test_target_encoding_by_hand():
    codes = np.array([[0, 1, 0, 1, np.nan, 0, 2]])
    target = np.array([[1.0, 4.0, 3.0, np.nan, 2.0]])
    mean = 2.5  # of 1, 4, 3 and 2
    zero, one = (mean + 1 + 3) / 3, (mean + 4) / 2
    expected = [zero, one, zero, one, np.nan, zero, mean]
    np.testing.assert_allclose(encode(codes, target, 3)[0], expected, rtol=1e-6)


def test_windows_without_a_series_have_none(table, tmp_path):
    windows = windows_of(tmp_path, table)
    data = SeriesData(paths=["unused"], synthetic=0.5, augmented=0.2, **KEYS)
    batch = TrainingWindows(windows, data, 0, 64).batch(np.arange(64))
    real = batch.series >= 0
    assert 0 < real.sum() < 64
    assert known_of(batch)[~real].isnan().all()
    assert (~known_of(batch)[real].isnan()).any(dim=2).all()


def test_a_file_without_the_columns_has_none(table, tmp_path):
    write(tmp_path, "other.csv", table[["unique_id", "ds", "y"]].to_csv(index=False))
    windows = windows_of(tmp_path, table)
    other = windows.batch(windows.of_dataset("other")[:5])
    assert known_of(other).isnan().all()
    assert known_of(windows.batch(windows.of_dataset("sales")[:5]))[:, 0, -1].isfinite().all()


def test_covariates_are_no_targets_and_change_the_fingerprint(table, tmp_path):
    with_them = windows_of(tmp_path, table, target=None)
    assert sorted(with_them.store.names) == ["sales/a", "sales/b"]
    without = windows_of(tmp_path, table, known=["promo"])
    assert with_them.store.fingerprint != without.store.fingerprint
    assert without.batch([0]).future_covariates.shape[1] == 1


def test_an_unknown_column_is_refused(table, tmp_path):
    with usage_error("data.no_such_covariate", "'prom'"):
        windows_of(tmp_path, table, known=["prom"])
    with usage_error("data.column_twice", "'promo'"):
        Recipe.lay_over({"data": {"known": ["promo"], "past": ["promo"]}}, {})


def test_dates_are_no_covariates(table, tmp_path):
    dated = table.assign(promo=table.ds + pd.Timedelta(days=3))
    for number, file in enumerate(("text.csv", "typed.parquet")):
        path = tmp_path / str(number) / "files" / file
        path.parent.mkdir(parents=True)
        dated.to_csv(path, index=False) if file == "text.csv" else dated.to_parquet(path)
        with usage_error("data.covariate_without_categories", file, "'promo'"):
            opened(tmp_path / str(number), target=["y"], known=["promo"])


def test_windows_made_on_a_device_have_none():
    with usage_error("data.covariates_on_device", "leave device out"):
        Recipe.lay_over({"data": {"known": ["promo"], "device": {}}}, {})


def test_impute_and_stride_leave_them_alone(table, tmp_path):
    windows = windows_of(tmp_path, table, missing="impute", stride=3)
    batch = windows.batch([0, 1])
    assert torch.equal(known_of(batch)[0, 0, 3:], known_of(batch)[1, 0, :-3])
