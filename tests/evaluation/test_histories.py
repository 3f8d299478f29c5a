import numpy as np
import pytest
from eval_fakes import FakeStore, FakeWindows
from hypothesis import given
from hypothesis import strategies as st

from potstill.evaluation.histories import Histories, training_spread


def before(values, season, origin, horizon=3):
    return Histories(FakeStore([np.array(values, float)], season)).before(np.array([0]), np.array([origin]), horizon)


def test_by_hand():
    # season 2, history 1 5 2 7 4: differences 1, 2, 2; the path repeats 7 4
    past = before([1, 5, 2, 7, 4, 100, 100], 2, 5)
    assert past.scale[0] == pytest.approx(5 / 3)
    assert past.squared[0] == pytest.approx((1 + 4 + 4) / 3)
    assert past.spread[0] == pytest.approx(np.std([1, 2, 2]))
    assert past.path[0].tolist() == [7, 4, 7]
    assert past.season[0] == 2


def test_a_history_shorter_than_two_seasons_has_season_one():
    past = before([1, 5, 2, 7, 4, 0, 0], 4, 5)
    assert past.season[0] == 1
    assert past.scale[0] == pytest.approx((4 + 3 + 5 + 3) / 4)
    assert past.path[0].tolist() == [4, 4, 4]


def test_missing_values_are_carried_forward_in_the_path_only():
    past = before([np.nan, 3, 4, np.nan, 7, 5, np.nan, 9], 1, 7)  # known pairs: 3 4, 7 5
    assert past.scale[0] == pytest.approx((1 + 2) / 2)
    assert past.squared[0] == pytest.approx((1 + 4) / 2)
    assert past.spread[0] == pytest.approx(np.std([1, -2]))
    assert past.path[0].tolist() == [5, 5, 5]


def test_a_history_without_a_known_pair_is_not_usable():
    assert not before([1, np.nan, 2, np.nan, 3, np.nan, 4], 1, 6).usable[0]


@pytest.mark.parametrize("origin", [0, 1])
def test_too_short_is_not_usable(origin):
    assert not before([1, 5, 2], 1, origin).usable[0]


def test_constant_and_unknown_histories_are_not_usable():
    assert not before([4, 4, 4, 4, 9], 1, 4).usable[0]
    assert not before([np.nan, np.nan, np.nan, 2, 3], 1, 3).usable[0]


def test_a_high_level_with_a_small_spread_keeps_its_precision():
    values = 48_000 + np.tile([0.0, 3.0, -3.0, 1.0], 500)
    assert before(values, 1, 1999).spread[0] == pytest.approx(np.diff(values[:1999]).std(), rel=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0, 0.5))
def test_agrees_with_the_plain_definition(seed, season, missing):
    rng = np.random.default_rng(seed)
    series = [rng.normal(size=int(rng.integers(20, 40))).astype(np.float32) for _ in range(2)]
    for x in series:
        x[rng.random(len(x)) < missing] = np.nan
    which = np.sort(rng.integers(0, 2, 8))
    origin = np.array([rng.integers(0, len(series[i]) + 1) for i in which])
    past = Histories(FakeStore(series, season)).before(which, origin, 7)
    for row, (i, o) in enumerate(zip(which, origin, strict=True)):
        history = series[i][:o].astype(float)
        known = np.flatnonzero(np.isfinite(history))
        m = season if o >= 2 * season else 1
        if len(known) == 0 or o <= m:
            assert not past.usable[row]
            continue
        filled = np.array([history[max(k for k in [known[0], *known] if k <= max(t, known[0]))] for t in range(o)])
        e = history[m:] - history[:-m]
        e = e[np.isfinite(e)]
        if len(e) == 0:
            assert not past.usable[row]
            continue
        assert past.scale[row] == pytest.approx(np.abs(e).mean(), abs=1e-9)
        assert past.squared[row] == pytest.approx((e**2).mean(), abs=1e-9)
        assert past.spread[row] == pytest.approx(e.std(), abs=1e-7)
        assert past.path[row] == pytest.approx(filled[o - m + np.arange(7) % m])


def test_training_spread_sees_training_rows_only():
    x = np.r_[1.0, 3, np.nan, 1, 3, 1, 3, 3, 999, -999]
    spread = training_spread(FakeWindows(FakeStore([x, np.full(10, 0.1), x]), 2, 1, "train"), np.array([0, 1]))
    assert spread[0] == pytest.approx(np.std([1, 3, 1, 3, 1, 3, 3]))
    assert np.isnan(spread[1])  # constant
    assert np.isnan(spread[2])  # not asked for


def test_a_series_kept_out_of_training_takes_its_own_spread():
    windows = FakeWindows(FakeStore([np.array([1.0, 3, 1, 3])]), 2, 1, "train")
    windows.bounds = (np.array([0]), np.array([0]))
    assert training_spread(windows, np.array([0]))[0] == pytest.approx(1.0)
