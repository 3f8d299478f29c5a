"""The data sets of the package."""

import pandas as pd
import pytest
from usage_errors import usage_error

from potstill.data.embedded import FOLDER, embedded_file
from potstill.data.series.opening import open_store
from potstill.recipe import Recipe, SeriesData


@pytest.mark.parametrize(
    ("entry", "name", "rows"),
    [
        ("embedded", "ETTh1", 17420),
        ("embedded/ETTh1", "ETTh1", 17420),
        ("embedded/rds_cpu_utilization_e47b3b", "rds_cpu_utilization_e47b3b", 4032),
    ],
)
def test_each_has_a_name_and_a_licence(entry, name, rows):
    assert len(pd.read_csv(embedded_file(entry))) == rows
    store = open_store(SeriesData(paths=[entry]))
    assert store.datasets == [name]
    assert Recipe.lay_over({"data": {"paths": [entry]}}, {}).absolute().data.paths == [entry]
    assert {"ETTh1.LICENSE.txt", "NAB.LICENSE.txt"} <= {file.name for file in FOLDER.iterdir()}


def test_an_unknown_name_lists_the_known_ones():
    with usage_error("data.no_such_embedded_set", "embedded/ETTh9", "embedded/ETTh1"):
        embedded_file("embedded/ETTh9")
