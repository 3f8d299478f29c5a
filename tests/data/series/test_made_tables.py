"""Tables made from a number are never misread without a note; the truth is what pandas gives and what was written."""

import pytest
from made_tables import make_table, outcome


@pytest.mark.parametrize("seed", range(0, 200, 2))
def test_no_table_is_misread_silently(tmp_path, seed):
    table = make_table(seed)
    what, why = outcome(table, tmp_path)
    assert what != "misread", f"{table.made}: {why}\n{table.text[:300]}"


def test_most_tables_are_read_right(tmp_path):
    assert sum(outcome(make_table(seed), tmp_path)[0] == "right" for seed in range(300, 320)) >= 18


def test_a_misreading_is_found(tmp_path):
    table = make_table(0)
    name = next(iter(table.values))
    table.values[name] = table.values[name] + 1
    assert outcome(table, tmp_path) == ("misread", f"values of {name}")
