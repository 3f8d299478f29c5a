"""Numbers in text: the right value and a note, or an error that names the cell; never a wrong factor in silence."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import opened, write
from usage_errors import usage_error

GERMAN, ISO = "%d.%m.%Y", "%Y-%m-%d"


def table(cells: list[str], separator: str = ",", dates: str = ISO, beside: list[str] | None = None) -> str:
    days = pd.date_range("2023-01-14", periods=len(cells))
    columns = [[f"{day:{dates}}" for day in days], cells, *([beside] if beside else [])]
    names = separator.join(["date", "y", "z"][: len(columns)])
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in column] for column in columns]
    return "\n".join([names, *(separator.join(row) for row in zip(*quoted, strict=True))]) + "\n"


def values(folder, *arguments, **config):
    write(folder, "a.csv", table(*arguments))
    store = opened(folder, **config)
    return store.series(0), [line.removeprefix("a/y: ") for line in store.report.lines() if line.startswith("a/y: ")]


POINTS, COMMAS = "points separate thousands", "commas separate thousands"


@pytest.mark.parametrize(
    ("arguments", "numbers", "note"),
    [
        ((["1.220", "985", "1.456", "12.000"], ";", GERMAN), [1220, 985, 1456, 12000], POINTS),
        ((["1.220", "1.985", "1.456", "12.000"], ";", GERMAN), [1220, 1985, 1456, 12000], POINTS),
        ((["985", "1.220,50", "3,5", "1.456,2"], ";", GERMAN), [985, 1220.5, 3.5, 1456.2], POINTS),
        ((["1.220", "985", "1.456", "970"], ";"), [1220, 985, 1456, 970], POINTS),
        ((["1.220", "985", "1.456", "970"], "\t"), [1220, 985, 1456, 970], POINTS),
        ((["1.220", "1.985", "1.456"], ";", ISO, ["1,5", "2,5", "3"]), [1220, 1985, 1456], POINTS),
        ((["1.234.567", "2.345.678", "999.000"], ";"), [1234567, 2345678, 999000], POINTS),
        ((["1,220", "985", "1,456", "12,000"],), [1220, 985, 1456, 12000], COMMAS),
        ((["985", "1,220.5", "1,456", "12,000"],), [985, 1220.5, 1456, 12000], COMMAS),
        ((["1,220", "985", "1,456", "970"], "\t"), [1220, 985, 1456, 970], COMMAS),
        ((["12,34,567.5", "1,00,000", "3"],), [1234567.5, 100000, 3], COMMAS),
        ((["1 220", "985", "12 000,5"], ";", GERMAN), [1220, 985, 12000.5], "spaces or apostrophes"),
        ((["1\u00a0220", "985", "1\u202f456"],), [1220, 985, 1456], "spaces or apostrophes"),
        ((["1'220.50", "985.5", "12'000"],), [1220.5, 985.5, 12000], "spaces or apostrophes"),
        ((["(12.50)", "12.50", "3.25"],), [-12.5, 12.5, 3.25], "brackets mark negative numbers"),
        ((["12.50-", "12.50", "3"],), [-12.5, 12.5, 3], "a minus at the end"),
        ((["\u22121.5", "2", "3"],), [-1.5, 2, 3], ""),
        ((["$12.50", "-$1,200.50", "($3.25)"],), [12.5, -1200.5, -3.25], "currency signs are left out"),
        ((["12,50 €", "1.200,50 €", "-3,25 €"], ";", GERMAN), [12.5, 1200.5, -3.25], "currency signs are left out"),
        ((["12.5%", "1 %", "3%"],), [12.5, 1, 3], "per-cent signs are left out"),
        # decimals with three digits, which are no thousands
        ((["1.220", "1.985", "1.456", "12.001"],), [1.22, 1.985, 1.456, 12.001], ""),
        ((["1.221", "3", "1.456", "2"],), [1.221, 3, 1.456, 2], ""),
        ((["0.220", "1.985", "1.456"], ";", GERMAN), [0.22, 1.985, 1.456], ""),
        ((["1.220", "1.985", "1.456"], ";", ISO, ["1.5", "2.5", "3"]), [1.22, 1.985, 1.456], ""),
        ((["1,220", "1,985", "1,456"], ";"), [1.22, 1.985, 1.456], "commas separate decimals"),
        ((["1,22", "1,985", "7"], ";"), [1.22, 1.985, 7], ""),
        ((["1e5", "2.5e-3", "3"],), [1e5, 2.5e-3, 3], ""),
    ],
)
def test_numbers_are_read_and_what_is_unusual_is_noted(tmp_path, arguments, numbers, note):
    found, notes = values(tmp_path, *arguments)
    np.testing.assert_allclose(found, numbers, rtol=1e-6)
    assert len(notes) == bool(note)
    assert all(note in line and "(line " in line and "is read as" in line for line in notes)


@pytest.mark.parametrize(
    ("arguments", "cell", "remedy"),
    [
        ((["7", "1.220", "1.985", "1.456"], ";"), "'1.220'", "--decimal"),
        ((["985", "1.220", "970", "1.456"],), "'1.220'", "--decimal"),
        ((["1.220", "1.985", "1.456"], "\t", GERMAN), "'1.220'", "--decimal"),
        ((["1,220", "1,985", "1,456"], "\t"), "'1,220'", "--decimal"),
        ((["1985", "1.220", "1.456"], ";", GERMAN), "'1.220'", "--decimal"),
        ((["1.220", "1.456", "3.5", "2,25"], ";"), "'1.220'", "--decimal"),
        ((["12.5%", "1", "3"],), "'12.5%'", "same unit"),
        ((["$12.50", "€1", "$3"],), "'€1'", "currency"),
    ],
)
def test_numbers_with_two_readings_are_a_usage_error(tmp_path, arguments, cell, remedy):
    line = next(i for i, text in enumerate(table(*arguments).split("\n"), 1) if cell.strip("'") in text)
    with usage_error("data.ambiguous_numbers", f"a.csv line {line}: {cell}", "'y'", remedy):
        values(tmp_path, *arguments)


@pytest.mark.parametrize(("decimal", "number"), [(".", 1.22), (",", 1220)])
@pytest.mark.parametrize("arguments", [(["1.220", "1.985", "1.456"], ";"), (["1.220", "985", "1.456"],)])
def test_the_decimal_setting(tmp_path, arguments, decimal, number):
    found, _ = values(tmp_path, *arguments, decimal=decimal)
    assert found[0] == pytest.approx(number)
    assert opened(tmp_path, decimal=decimal).fingerprint != opened(tmp_path, decimal=".,"[decimal == "."]).fingerprint


def test_cells_that_do_not_fit_the_decimal_setting_are_counted_and_shown(tmp_path):
    write(tmp_path, "a.csv", table(["1,5", "2,5", "1.5", "1.500,5"], ";"))
    store = opened(tmp_path, decimal=",")
    np.testing.assert_array_equal(store.series(0), [1.5, 2.5, np.nan, 1500.5])
    assert "repaired: 1 unreadable cells taken as missing: a/y (first: line 4: '1.5')" in store.report.lines()


def test_an_ambiguous_column_that_is_not_used_is_no_error(tmp_path):
    write(tmp_path, "a.csv", table(["1.220", "1.985", "1.456"], ";", ISO, ["1", "5", "3"]))
    assert opened(tmp_path, target=["z"]).names == ["a/z"]


@given(
    numbers=st.lists(st.integers(-3_000_000, 3_000_000), min_size=3, max_size=12, unique=True),
    digits=st.integers(0, 4),
    style=st.sampled_from(
        [(".", ",", ";", GERMAN), (",", ".", ",", ISO), (" ", ",", ";", GERMAN), ("'", ".", ",", ISO)]
    ),
)
@settings(max_examples=200)
def test_no_number_is_wrong_in_silence(tmp_path_factory, numbers, digits, style):
    thousands, decimal, separator, dates = style
    exact = [number / 10**digits for number in numbers]
    cells = [f"{v:,.{digits}f}".translate(str.maketrans({",": thousands, ".": decimal})) for v in exact]
    found, _ = values(tmp_path_factory.mktemp("numbers"), cells, separator, dates)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
