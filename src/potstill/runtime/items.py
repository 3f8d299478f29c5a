"""A caller's items with covariates: dictionaries with the keys of chronos-forecasting.

Shapes: B windows (a target of an item each), C context, H horizon, P past covariates, F covariates known ahead.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from .contexts import contexts_of, finite, numbers_of, padded
from .errors import ExportError
from .windows import Windows

TARGET, PAST, FUTURE = KEYS = ("target", "past_covariates", "future_covariates")


def are_items(data: Any) -> bool:
    """Whether data is a list that begins with a dictionary."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and isinstance(data[0], Mapping)


def windows_of(data: Any, groups: Sequence[Hashable] | None, longest: int, steps: int) -> Windows:
    """Windows of items, or of contexts if they are none.

    Parameters
    ----------
    data
        A list of dictionaries: ``target`` is ``[C]`` or several series ``[V, C]``; ``past_covariates`` maps names to
        ``[C]``; ``future_covariates`` maps some of these names to ``[H]``. Or contexts, see ``contexts_of``.
    groups
        An id for each item: items with the same id are forecast together; None: each item on its own.
    longest, steps
        The longest context that is kept, and the horizon H.

    Raises
    ------
    ExportError
        For anything else.
    """
    items = [_Item(item, place, steps) for place, item in enumerate(data)] if are_items(data) else None
    targets = [item.target for item in items] if items else [[row] for row in contexts_of(data, longest)]
    counts = [len(target) for target in targets]
    context = padded([np.asarray(row)[-longest:] for target in targets for row in target])
    group = np.repeat(_numbered(groups, len(targets)), counts)
    if not items:
        return Windows(context, group)
    firsts = np.cumsum([0, *counts[:-1]])
    past, known = (
        _stacked([getattr(item, kind) for item in items], firsts, len(context), context.shape[1] + ahead)
        for kind, ahead in (("past", 0), ("known", steps))
    )
    return Windows(context, group, past, known)


class _Item:
    """One item, checked: ``target [V, C]``, and by name ``past [C]`` and ``known [C + H]``."""

    def __init__(self, item: Any, place: int, steps: int):
        self.name = f"item {place}"
        if not isinstance(item, Mapping) or TARGET not in item or not set(item) <= set(KEYS):
            raise ExportError(
                f"{self.name}: must be a dictionary with the key {TARGET}, and no others than {PAST} and {FUTURE}."
            )
        try:
            self.target = contexts_of(item[TARGET], sys.maxsize)
        except ExportError as error:
            raise ExportError(f"{self.name}, target{str(error).removeprefix('context')}") from None
        length = self.target.shape[1]
        values = self._series(item, PAST, length, "steps of the target")
        ahead = self._series(item, FUTURE, steps, "steps that are forecast")
        without = [name for name in ahead if name not in values]
        if without:
            raise ExportError(
                f"{self.name}, {FUTURE}: {without[0]!r} is not in {PAST}; give its values over the context there."
            )
        self.past = {name: one for name, one in values.items() if name not in ahead}
        self.known = {name: np.concatenate([values[name], one]) for name, one in ahead.items()}

    def _series(self, item: Mapping[str, Any], key: str, length: int, what: str) -> dict[Any, np.ndarray]:
        given = item.get(key) or {}
        if not isinstance(given, Mapping):
            raise ExportError(
                f"{self.name}, {key}: is of the type {type(given).__name__}; give a dictionary of series."
            )
        found = {name: finite(numbers_of(one, f"{self.name}, {key} {name!r}")) for name, one in given.items()}
        for name, one in found.items():
            if one.shape != (length,):
                raise ExportError(
                    f"{self.name}, {key} {name!r}: has the shape {list(one.shape)}; give {length:,} values, as many as"
                    f" {what}."
                )
        return found


def _numbered(groups: Sequence[Hashable] | None, count: int) -> np.ndarray:
    """A number for each item's group."""
    if groups is None:
        return np.arange(count)
    ids = list(groups)
    if len(ids) != count:
        raise ExportError(f"groups: has {len(ids):,} ids, and there are {count:,} items; give one for each.")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(one, len(numbers)) for one in ids])


def _stacked(items: list[dict[Any, np.ndarray]], firsts: np.ndarray, count: int, length: int) -> np.ndarray | None:
    """Covariates ``[B, K, length]`` at the first target of each item; None if there are none.

    They end together; the first steps of a longer history than ``length`` are left out.
    """
    names = list(dict.fromkeys(name for item in items for name in item))
    if not names:
        return None
    stacked = np.full((count, len(names), length), np.nan)
    for first, item in zip(firsts, items, strict=True):
        for name, values in item.items():
            kept = values[-length:]
            stacked[first, names.index(name), length - len(kept) :] = kept
    return stacked
