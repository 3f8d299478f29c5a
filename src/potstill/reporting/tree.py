"""Any JSON tree (account, provenance) as text, lists, tables and definitions for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SHOWN_ROWS = 100  # of a list or table; the rest is only in metrics.json
LINE_CHARACTERS = 160  # that fit on a line


@dataclass
class Cell:
    """A cell of a table; numbers are aligned right."""

    text: str
    numeric: bool


@dataclass
class TreeNode:
    """One node of the tree: ``text``, ``list`` (of nodes), ``pairs`` (name, node) or ``table`` (columns, rows)."""

    kind: Literal["text", "list", "pairs", "table"]
    text: str = ""
    nodes: list[TreeNode] = field(default_factory=list)
    pairs: list[tuple[str, TreeNode]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    more: int = 0


def present(tree: Any, grouped: bool = False, first: Sequence[str] = ()) -> TreeNode:
    """Lay out a JSON tree.

    Parameters
    ----------
    tree
        Any JSON value.
    grouped
        Separate thousands in integers (not for provenance: a seed is not a count).
    first
        Keys of the outer object that come first, in this order.
    """
    if isinstance(tree, Mapping) and tree:
        names = [*(key for key in first if key in tree), *(key for key in tree if key not in first)]
        return TreeNode("pairs", pairs=[(words(name), _node(tree[name], grouped)) for name in names])
    return _node(tree, grouped)


def words(key: Any) -> str:
    """A key as a heading."""
    return str(key).replace("_", " ")


def _node(tree: Any, grouped: bool) -> TreeNode:
    if isinstance(tree, Mapping):
        inner = [value for value in tree.values() if isinstance(value, Mapping)]
        if len(inner) == len(tree) > 1 and set.intersection(*map(set, inner)):
            return _table([{"": name, **value} for name, value in tree.items()], grouped)
        return present(tree, grouped) if tree else TreeNode("text", "none")
    if isinstance(tree, (list, tuple)):
        if tree and all(isinstance(value, Mapping) for value in tree):
            return _table(tree, grouped)
        line = _inline(tree, grouped)
        if len(line) <= LINE_CHARACTERS and not any(isinstance(value, str) and " " in value for value in tree):
            return TreeNode("text", line)
        return TreeNode(
            "list", nodes=[_node(value, grouped) for value in tree[:SHOWN_ROWS]], more=max(0, len(tree) - SHOWN_ROWS)
        )
    return TreeNode("text", _leaf(tree, grouped))


def _table(rows: Sequence[Mapping[str, Any]], grouped: bool) -> TreeNode:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(column), grouped) for column in columns] for row in rows[:SHOWN_ROWS]]
    return TreeNode(
        "table", columns=[words(column) for column in columns], rows=cells, more=max(0, len(rows) - SHOWN_ROWS)
    )


def _cell(value: Any, grouped: bool) -> Cell:
    return Cell(_inline(value, grouped), isinstance(value, (int, float)) and not isinstance(value, bool))


def _inline(tree: Any, grouped: bool) -> str:
    if isinstance(tree, Mapping):
        parts = [f"{words(key)}: {_inline(value, grouped)}" for key, value in tree.items()]
        return "; ".join(parts) or "none"
    if isinstance(tree, (list, tuple)):
        return ", ".join(_inline(value, grouped) for value in tree) or "none"
    return _leaf(tree, grouped)


def _leaf(value: Any, grouped: bool) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else "–"
    return f"{value:,}" if grouped and isinstance(value, int) else str(value)
