"""Series that are forecast together: each window also shows the other series of its group, up to the same moment.

A model with attention within groups reads covariates without a future as it reads further targets, so that a window
with the others as past covariates is forecast as in one pass over the group. Windows stay independent of each other:
they can be sampled, labelled and stored one at a time.

Shapes: S series, B windows, C context steps, K other series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from potstill.data.series.zones import rows_before, to_local
from potstill.errors import UserError

if TYPE_CHECKING:
    from potstill.data.series.store import Store
    from potstill.types import Windows

TABLE = "table"  # all series of a data set are one group
LARGEST = 32  # every window has a row for each series of its group


@dataclass(frozen=True)
class SeriesGroups:
    """The groups of a store's series.

    Attributes
    ----------
    members
        Series of each group, ascending; all of one data set, so that they have one step.
    group_of
        ``[S]`` the group of each series.
    position
        ``[S]`` steps from the first row of the data set to that of the series.
    """

    members: list[np.ndarray]
    group_of: np.ndarray
    position: np.ndarray

    def attach(self, store: Store, windows: Windows) -> Windows:
        """The windows with the other series of their groups as further past covariates; NaN where there is no row."""
        from dataclasses import replace

        import torch

        series, origin = windows.series.numpy(), windows.origin.numpy()
        width = max(len(group) for group in self.members) - 1
        length = windows.context.shape[1]
        found = np.full((len(series), width, length), np.nan, np.float32)
        for place, (i, at) in enumerate(zip(series.tolist(), origin.tolist(), strict=True)):
            if i < 0:
                continue
            others = [j for j in self.members[self.group_of[i]].tolist() if j != i]
            for row, j in enumerate(others):
                end = at + int(self.position[i] - self.position[j])  # the origin, as a row of series j
                low, high = max(end - length, 0), min(end, int(store.lengths[j]))
                if low < high:
                    found[place, row, low - end + length : high - end + length] = store.series(j)[low:high]
        rows = torch.from_numpy(found)
        past = windows.past_covariates
        return replace(windows, past_covariates=rows if past is None else torch.cat([past, rows], dim=1))


def series_groups(store: Store, by: str) -> SeriesGroups:
    """The groups of a store.

    Parameters
    ----------
    by
        ``table``, or the name of an id column whose values name the groups.

    Raises
    ------
    UserError
        No table has that id column, no group has two series, or one has too many.
    """
    keys = [_key(store, i, by) for i in range(len(store))]
    if by != TABLE and not any(by in table.ids for table in store.keys.tables):
        known = ", ".join(sorted({name for table in store.keys.tables for name in table.ids})) or "none"
        raise UserError(
            f"data.groups: no table has an id column {by!r}; id columns: {known}; or write {TABLE} for all series of a"
            " table.",
            key="data.no_group_column",
        )
    numbers: dict[tuple[int, str], int] = {}
    group_of = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    members = [np.flatnonzero(group_of == number) for number in range(len(numbers))]
    largest = max(members, key=len)
    if len(largest) == 1:
        raise UserError(
            f"data.groups: by {by!r} every series is alone; leave groups out, or name another id column.",
            key="data.groups_of_one",
        )
    if len(largest) > LARGEST:
        raise UserError(
            f"data.groups: by {by!r} {len(largest):,} series would be forecast together, such as"
            f" {store.names[largest[0]]}; at most {LARGEST} are: name an id column with smaller groups, or the columns"
            " to forecast.",
            key="data.group_too_large",
        )
    return SeriesGroups(members, group_of, _positions(store))


def _key(store: Store, i: int, by: str) -> tuple[int, str]:
    dataset = int(store.dataset_of[i])
    ids = store.keys.tables[dataset].ids
    if by == TABLE:
        return dataset, ""
    if by not in ids:
        return dataset, store.names[i]
    assert store.keys.ids is not None
    return dataset, str(store.keys.ids[ids.index(by)][i].as_py())


def _positions(store: Store) -> np.ndarray:
    positions = np.zeros(len(store), np.int64)
    for dataset in np.unique(store.dataset_of):
        mine = np.flatnonzero((store.dataset_of == dataset) & (store.lengths > 0))
        if not len(mine):
            continue
        step, zone, first = store.step_of(dataset), store.zones[dataset], store.starts[mine].min()
        if not step.timed:
            positions[mine] = store.starts[mine]
            continue
        starts, back = np.unique(store.starts[mine], return_inverse=True)
        moments = to_local(starts, zone).tolist()
        rows = np.array([rows_before(step, zone, np.array([first]), moment)[0] for moment in moments])
        positions[mine] = rows[back]
    return positions
