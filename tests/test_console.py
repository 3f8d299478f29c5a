"""Progress as lines where there is no terminal."""

from __future__ import annotations

import re

from potstill.console import progress_bar, say


def test_pipes_get_a_line_for_every_ten_per_cent(capsys):
    with progress_bar("Forecasting", "series") as advance:
        for done in range(1, 2001):
            advance(done, 2000, "sales")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    form = r"Forecasting: (\d+) % \(([\d,]+) of 2,000 series\), [\d,.e+]+ series/s(, \d+ s left)?, sales"
    found = [re.fullmatch(form, line) for line in lines]
    assert [int(match[1]) for match in found if match] == list(range(10, 101, 10))
    assert [match[2] for match in found if match][:2] == ["200", "400"]
    assert "left" not in lines[-1]


def test_few_large_steps_are_one_line_each(capsys):
    with progress_bar("Labelling") as advance:
        advance(3, 7, "")
        advance(7, 7, "")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["Labelling: 40 %", "Labelling: 100 %"]


def test_names_are_printed_as_they_are(capsys):
    say("[red]x[/red] by cluster:100: :smile:.csv")
    assert capsys.readouterr().err == "[red]x[/red] by cluster:100: :smile:.csv\n"
