"""Series on the device: their windows hold what the files hold, of the training rows alone."""

import numpy as np
import pytest
import torch
from store_files import store_of
from usage_errors import usage_error

from potstill.data.device.draws import Draws
from potstill.data.device.series import MIN_AGGREGATED, ResidentSeries, excerpts, sampling_weights
from potstill.data.series.splits import part_bounds


def resident(series, split="8:1:1", sampling="uniform", group_size=2, **changes):
    store = store_of([np.asarray(x, np.float32) for x in series])
    store.datasets = [f"set {k}" for k in range(int(np.max(changes.get("dataset_of", 0))) + 1)]
    for name, value in changes.items():
        setattr(store, name, np.asarray(value))
    return ResidentSeries(store, part_bounds(store, split, "train"), sampling, group_size, "cpu"), store


def gappy(rng, n):
    x = rng.normal(size=n).cumsum() + 50
    x[1:-1][rng.random(n - 2) < 0.2] = np.nan
    return x


def read_by_hand(x, origin, steps, context, horizon):
    """The mean of the known values of each step, one by one; NaN outside the series."""
    rows = len(x) // steps
    out = np.full(context + horizon, np.nan)
    for place, step in enumerate(range(origin - context, origin + horizon)):
        if 0 <= step < rows:
            known = x[step * steps : (step + 1) * steps]
            known = known[~np.isnan(known)]
            out[place] = known.mean() if len(known) else np.nan
    return out


def test_excerpts_are_the_training_rows_in_units_of_their_deviation():
    rng = np.random.default_rng(0)
    x = gappy(rng, 200)
    x[155:] = 1e6
    x[150:160] = np.nan  # the training part ends within a gap
    store = store_of([np.ones(60, np.float32), x.astype(np.float32), rng.normal(size=8)])
    reasons = {}
    found = excerpts(store, part_bounds(store, "8:1:1", "train"), reasons.__setitem__)
    assert found.index.tolist() == [1]
    assert reasons == {
        store.names[0]: "its train part is constant",
        store.names[2]: "its train part has fewer than 16 known values",
    }
    train = x[:160][: np.flatnonzero(~np.isnan(x[:160]))[-1] + 1]
    expected = (train - np.nanmean(train)) / np.nanstd(train)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert (found.offsets.tolist(), found.first_row.tolist()) == ([0, len(train)], [0])


@pytest.mark.parametrize("steps", [1, 3, 12])
def test_windows_are_means_over_rows(steps):
    rng = np.random.default_rng(steps)
    real, _ = resident([gappy(rng, 97), gappy(rng, 400), gappy(rng, 41)], split="1:0:0")
    series = torch.tensor([0, 1, 1, 2, 0])
    origin = torch.tensor([0, 7, 25, 3, 8])
    found = real._read(series, origin, torch.full((5,), steps), 16, 6)
    ends = [*real.offsets.tolist(), len(real.values)]
    for k in range(5):
        x = real.values[ends[series[k]] : ends[series[k] + 1]].double().numpy()
        np.testing.assert_allclose(found[k].numpy(), read_by_hand(x, int(origin[k]), steps, 16, 6), atol=1e-6)


def test_no_window_holds_a_row_after_the_training_part():
    rng = np.random.default_rng(1)
    series = [rng.normal(size=n) for n in (30, 300, 8000)]
    for x in series:
        x[int(len(x) * 0.8) :] = 1e9
    real, _ = resident(series)
    drawn = real.draw(Draws(0, 0, "cpu"), 3000, 64, 48)
    values = drawn.values.nan_to_num(0.0)
    assert values.abs().max() < 10
    assert (~drawn.values[:, 64:].isnan()).any(dim=1).all()  # every window has a future
    assert set(drawn.series.tolist()) == {0, 1, 2}


def test_only_long_series_are_aggregated_and_some_windows_change_sign():
    """A rising line: a step of a window rises by the number of rows that it is the mean of."""
    lines = [np.arange(n, dtype=float) for n in (600, 12 * MIN_AGGREGATED)]
    real, _ = resident(lines, split="1:0:0")
    drawn = real.draw(Draws(0, 0, "cpu"), 4000, 64, 16)
    deviation = torch.tensor([float(np.std(x)) for x in lines])[drawn.series]
    rise = (drawn.values[:, 64] - drawn.values[:, 63]) * deviation
    assert set(rise[drawn.series == 0].round().abs().tolist()) == {1.0}
    long = rise[drawn.series == 1].round()
    shares = {steps: float((long.abs() == steps).float().mean()) for steps in (1, 2, 3, 4, 6, 12)}
    assert shares == pytest.approx({1: 0.5, 2: 0.1, 3: 0.1, 4: 0.1, 6: 0.1, 12: 0.1}, abs=0.04)
    assert float((rise < 0).float().mean()) == pytest.approx(0.1, abs=0.03)
    step = (
        drawn.values[:, 64] * torch.sign(rise) * deviation
        + torch.tensor([float(x.mean()) for x in lines])[drawn.series]
    )
    first = drawn.origin + (rise.abs().round() - 1) / 2  # the mean of the rows that begin at the origin
    torch.testing.assert_close(step, first, atol=0.5, rtol=0)


def test_columns_are_of_one_table_at_the_same_time():
    """Every value is its row of the table, plus a thousand times its column."""
    tables = [(100, 5), (130, 3), (90, 1)]
    series, datasets, begins = [], [], []
    for table, (rows, count) in enumerate(tables):
        for column in range(count):
            begins.append(column)  # column j begins j rows later
            series.append(np.arange(begins[-1], rows, dtype=float) + 1000 * column)
            datasets.append(table)
    real, _ = resident(
        series,
        split="1:0:0",
        group_size=3,
        dataset_of=np.array(datasets, np.int32),
        first_row=begins,
        grid_rows=[tables[t][0] for t in datasets],
    )
    assert real.has_columns
    drawn = real.columns(Draws(0, 0, "cpu"), 200, 3, 20, 8)
    mean = torch.tensor([float(x.mean()) for x in series])[drawn.series]
    deviation = torch.tensor([float(x.std()) for x in series])[drawn.series]
    column = torch.tensor(begins)[drawn.series]
    rows = drawn.values * deviation[:, None] + mean[:, None] - 1000 * column[:, None]
    rows = rows.view(200, 3, -1)
    known = ~rows.isnan().any(dim=1)
    spread = (rows.amax(dim=1) - rows.amin(dim=1))[known]
    assert spread.max() < 0.1
    numbers = drawn.series.view(200, 3)
    assert all(len(set(row)) == 3 for row in numbers.tolist())
    assert set(np.asarray(datasets)[numbers.flatten()]) == {0, 1}  # the third table has too few columns
    at = (drawn.origin + column).view(200, 3)  # the row of the table
    assert (at == at[:, :1]).all()
    torch.testing.assert_close(rows[..., 20], at.float(), atol=0.1, rtol=0)


def test_weights_of_series_by_hand():
    lengths, dataset = np.array([100, 400, 900]), np.array([0, 0, 1])
    assert sampling_weights(lengths, dataset, "uniform").tolist() == [1, 1, 1]
    first = 2**0.6 * 250**0.35
    expected = [first * 10 / 30, first * 20 / 30, 900**0.35]
    np.testing.assert_allclose(sampling_weights(lengths, dataset, "balanced"), expected)
    long = sampling_weights(np.array([10**6]), np.array([0]), "balanced")
    np.testing.assert_allclose(long, 20_000**0.35)


def test_series_are_drawn_by_their_weights():
    rng = np.random.default_rng(0)
    real, _ = resident(
        [rng.normal(size=n) for n in (100, 400, 900)], "1:0:0", "balanced", dataset_of=np.array([0, 0, 1])
    )
    counts = torch.bincount(real.draw(Draws(0, 0, "cpu"), 20_000, 16, 4).series, minlength=3) / 20_000
    weights = sampling_weights(np.array([100, 400, 900]), np.array([0, 0, 1]), "balanced")
    np.testing.assert_allclose(counts.numpy(), weights / weights.sum(), atol=0.015)


def test_series_without_a_usable_value_are_an_error():
    with usage_error("data.no_usable_series", "set 0", "16"):
        resident([np.ones(50)])
