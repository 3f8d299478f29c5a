"""Any JSON tree becomes text, lists and tables."""

from __future__ import annotations

from potstill.reporting.tree import present


def test_long_lists_are_cut_and_tables_recognised() -> None:
    assert present({"files": [f"a file {i}" for i in range(1000)]}).pairs[0][1].more == 900
    table = present({"dropped": [{"why": "constant", "count": 1200}]}, grouped=True).pairs[0][1]
    assert (table.columns, table.rows[0][1].text) == (["why", "count"], "1,200")
    nested = present({"datasets": {"A": {"windows": 3}, "B": {"windows": 4, "note": "few"}}}).pairs[0][1]
    assert [cell.text for cell in nested.rows[1]] == ["B", "4", "few"]
