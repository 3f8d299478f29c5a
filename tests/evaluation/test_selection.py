from math import gcd

import numpy as np
import pytest
from eval_fakes import FakeStore, FakeWindows
from hypothesis import given
from hypothesis import strategies as st

from potstill.evaluation.histories import Histories
from potstill.evaluation.selection import choose_step, select_windows
from potstill.recipe import ForecastEvaluation


def select(store, horizon=4, **config):
    windows = FakeWindows(store, 8, horizon)
    return select_windows(windows, "set0", ForecastEvaluation(**config), Histories(store))


def noise(length=200, seed=0):
    return np.random.default_rng(seed).normal(size=length)


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=30), st.integers(1, 3000), st.integers(1, 400))
def test_a_chosen_step_keeps_the_limit_and_covers_every_hour(lengths, most, season):
    lengths = np.array(lengths)
    step = choose_step(lengths, ForecastEvaluation(max_windows=most), np.array([season]))
    few = (-(-lengths // 5)).sum() < 100
    assert step >= (1 if few else 5)
    assert gcd(step, season) == 1
    assert (-(-lengths // step)).sum() <= max(most, len(lengths))


def test_a_requested_step_is_kept_while_it_fits():
    lengths, season = np.array([100]), np.array([24])
    assert choose_step(lengths, ForecastEvaluation(stride=24), season) == 24
    assert choose_step(lengths, ForecastEvaluation(stride=1), season) == 1
    assert choose_step(lengths, ForecastEvaluation(stride=1, max_windows=50), season) == 5
    assert choose_step(lengths, ForecastEvaluation(stride=10), season, stride=5) == 2


def test_windows_are_spread_from_the_end_of_every_series():
    selection = select(FakeStore([noise(seed=0), noise(100, seed=1)]), stride=5)
    assert selection.origin[selection.series == 0].tolist() == [161, 166, 171, 176, 181, 186, 191, 196]
    assert selection.origin[selection.series == 1].tolist() == [81, 86, 91, 96]
    assert selection.report() == {"windows": 12, "available": 54, "stride": 5, "series": 2, "dropped": {}}


def test_every_window_is_used_where_there_are_few():
    """200 and 100 rows: 37 and 17 windows; every fifth would be 12."""
    selection = select(FakeStore([noise(seed=0), noise(100, seed=1)]))
    assert selection.report() == {"windows": 54, "available": 54, "stride": 1, "series": 2, "dropped": {}}


@pytest.mark.parametrize(("windows", "step"), [(495, 1), (496, 5)])
def test_the_default_stride_leaves_a_hundred_windows(windows, step):
    assert choose_step(np.array([windows]), ForecastEvaluation(), np.array([24])) == step


def test_more_series_than_windows_are_thinned_evenly():
    selection = select(FakeStore([noise(40, seed=i) for i in range(50)]), max_windows=10)
    assert len(selection.ids) == 10
    assert selection.series[0] == 0
    assert selection.series[-1] == 49


def test_windows_that_cannot_be_scored_are_dropped_and_counted():
    hole, constant = noise(seed=1), np.ones(200)
    hole[175] = np.nan
    blind = noise(seed=2)
    blind[150:166] = np.nan
    selection = select(FakeStore([noise(), hole, constant, blind]), stride=1)
    # hole: four futures; blind: futures 160 … 165; contexts of 166 (none known), 167, 168 (one, two known)
    assert selection.dropped == {
        "the future has missing values": 4 + 6,
        "fewer than 3 known values in the context": 3,
        "the history is constant, too short or has too many gaps to scale by": 37,
    }
    assert len(selection.ids) == 4 * 37 - 50


def test_where_no_future_is_complete_the_known_part_is_scored():
    x = noise()
    x[::3] = np.nan
    selection = select(FakeStore([x]), stride=1)
    assert len(selection.ids) == 37
    assert "masked" in selection.report()["note"]


@pytest.mark.parametrize("most", [1, 3, 7, None])
def test_a_subset_is_spread_and_sorted(most):
    rows = select(FakeStore([noise()]), stride=1).subset(most)
    assert len(rows) == (most or 37)
    assert (np.diff(rows) > 0).all()
