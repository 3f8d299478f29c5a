"""Calendar units: days and periods are inverse, and days are those of pandas."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.data.series.units import calendar_unit

UNITS = ["B", "MS", "ME", "BMS", "BME", "SMS", "SME", "WOM-3FRI", "WOM-1MON", "M-1", "M-17", "M-29", "M-30", "M-31"]


@given(st.sampled_from(UNITS), st.integers(-30_000, 60_000))
def test_the_period_of_a_day_is_the_last_that_is_not_after_it(name, day):
    unit, days = calendar_unit(name), np.array([day])
    period = unit.periods(days)
    assert unit.days(period)[0] <= day < unit.days(period + 1)[0]
    assert unit.periods(unit.days(period)) == period


@pytest.mark.parametrize("name", [name for name in UNITS if not name.startswith("M-")])
def test_days_are_those_of_pandas(name):
    stamps = pd.date_range("1968-02-03", periods=200, freq=name)
    days = (stamps - pd.Timestamp("1970-01-01")).days.to_numpy()
    unit = calendar_unit(name)
    assert unit.days(unit.periods(days[:1]) + np.arange(200)).tolist() == days.tolist()


def test_a_day_of_the_month_is_the_last_day_of_a_short_month():
    months = np.arange(600, 612)  # 2020
    days = calendar_unit("M-30").days(months).astype("M8[D]").astype(str)
    assert [day[5:] for day in days[:4]] == ["01-30", "02-29", "03-30", "04-30"]


@pytest.mark.parametrize("name", ["", "M-0", "M-32", "WOM-5FRI", "C", "D"])
def test_unknown_units(name):
    with pytest.raises(ValueError, match="not a calendar unit"):
        calendar_unit(name)
