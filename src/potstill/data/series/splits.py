"""Splits: which rows of each series are training, validation and test; and a scaler from training rows only."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import numpy as np

from potstill.data.series.calendar import DAY
from potstill.data.series.zones import rows_before
from potstill.errors import UserError

if TYPE_CHECKING:
    from potstill.data.series.store import Store

SPLIT_PARTS = ("train", "validation", "test")
_ETT_MONTHS = (12, 16, 20)  # ends of the parts, in months of 30 days (Zhou et al., Informer, 2021)
_ETT = re.compile(r"(^|/)ETT[hm]\d", re.IGNORECASE)
_FILE_SEED = "0"


def part_bounds(store: Store, split: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``start:end`` of one part in each series; both int64 ``[S]``, equal if the series has no row in the part.

    A series that cannot be used for training (``store.skip``) has no row in any part. All rows of a file in
    ``store.train_only`` are training rows, whatever the split.

    Parameters
    ----------
    split
        ``a:b:c``: chronological shares of each series. ``ett``: 12/4/4 months of 30 days, later rows unused. ``suite``:
        ``ett`` for the files of the ETT family, 70/10/20 for all others: of the file's rows or of the series' rows,
        whichever end is earlier. ``by-file``: whole files by a hash of their names, 80/10/10. ``D1,D2``: training
        ends before D1, validation before D2, in the time zone of the data.
    part
        ``train``, ``validation`` or ``test``.

    Raises
    ------
    UserError
        The split cannot be read, or does not fit the data (no time, too few files).
    """
    if part not in SPLIT_PARTS:
        raise ValueError(f"unknown part {part!r}; parts are {', '.join(SPLIT_PARTS)}")
    which = SPLIT_PARTS.index(part)
    divided = _divided(store)
    if split == "by-file":
        inside = (_file_parts(store)[store.file_of] == which) & divided
        start, end = np.zeros(len(store), np.int64), np.where(inside, store.lengths, 0)
    else:
        ends = _ends(store, split)
        start = np.zeros(len(store), np.int64) if which == 0 else ends[which - 1]
        start, end = np.where(divided, start, 0), np.where(divided, np.maximum(ends[which], start), 0)
    return start, np.where(store.usable & ~divided & (which == 0), store.lengths, end)


def standardisation(store: Store, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each series' training rows, float64 ``[S]``; a constant has deviation 1.

    A series with fewer than two known training rows (as with ``by-file``) takes those of all other series' rows.
    """
    start, end = part_bounds(store, split, "train")
    mean, std = np.zeros(len(store)), np.ones(len(store))
    sums = np.zeros((len(store), 3))
    for i in range(len(store)):
        x = store.series(i)[start[i] : end[i]].astype(np.float64)
        x = x[np.isfinite(x)]
        if len(x) < 2:
            continue
        mean[i], std[i] = x.mean(), x.std() or 1.0
        sums[i] = len(x), len(x) * mean[i], len(x) * (std[i] ** 2 + mean[i] ** 2)
    count, total, squares = sums.sum(0)
    if count:
        seen = sums[:, 0] > 0
        pooled = total / count
        mean[~seen] = pooled
        std[~seen] = np.sqrt(max(squares / count - pooled**2, 0)) or 1.0
    return mean, std


def _divided(store: Store) -> np.ndarray:
    """``[S]`` bool: series that a split divides: those that can be used, and not only for training."""
    whole = [dataset for dataset, name in enumerate(store.files) if name in store.train_only]
    return store.usable & ~np.isin(store.dataset_of, whole)


def _ends(store: Store, split: str) -> np.ndarray:
    """``[3, S]`` ends of the parts."""
    lengths = store.lengths
    if split == "ett":
        usable, ends = np.flatnonzero(_divided(store)), np.zeros((3, len(store)), np.int64)
        ends[:, usable] = np.minimum(_ett_ends(store, usable), lengths[usable])
        return ends
    if split == "suite":
        shares = _share_ends(np.array([0.7, 0.8, 1.0]), lengths)
        of_file = _share_ends(np.array([0.7, 0.8, 1.0]), store.grid_rows) - store.first_row
        ends = np.clip(np.minimum(shares, np.maximum(of_file, 0)), 0, lengths)
        ends[2] = lengths
        family = np.array([bool(_ETT.search(name)) for name in store.datasets])
        ett = np.flatnonzero(family[store.dataset_of] & _divided(store))
        ends[:, ett] = np.minimum(_ett_ends(store, ett), lengths[ett])
        return ends
    if "," in split:
        return _date_ends(store, split)
    return _share_ends(_shares(split), lengths)


def _shares(split: str) -> np.ndarray:
    try:
        parts = np.array([float(p) for p in split.split(":")])
    except ValueError:
        parts = np.zeros(0)
    if len(parts) != 3 or not np.isfinite(parts).all() or (parts < 0).any() or parts[0] == 0:
        raise UserError(
            f"data.split: {split!r} is not a split; write shares such as 8:1:1, 'ett', 'suite', 'by-file' or "
            "two dates 'D1,D2'.",
            key="split.unreadable",
        )
    return np.cumsum(parts) / parts.sum()


def _share_ends(shares: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    # add a millionth of a row: rounding errors must not turn 0.7 * 10 into 6
    ends = np.floor(shares[:, None] * lengths[None] + 1e-6).astype(np.int64)
    ends[2] = lengths
    return ends


def _ett_ends(store: Store, which: np.ndarray) -> np.ndarray:
    """``[3, len(which)]`` ends at 12, 16 and 20 months of the file, for any step."""
    ends = np.zeros((3, len(which)), np.int64)
    for dataset in np.unique(store.dataset_of[which]):
        step = store.step_of(dataset)
        if not step.micros or step.micros > DAY:
            raise UserError(
                f"{store.datasets[dataset]}: the split 'ett' needs a time step of at most a day; "
                "choose shares such as 8:1:1.",
                key="split.step_too_long",
            )
        selected = store.dataset_of[which] == dataset
        rows = np.array(_ETT_MONTHS) * 30 * DAY // step.micros
        ends[:, selected] = np.maximum(rows[:, None] - store.first_row[which][selected][None], 0)
    return ends


def _date_ends(store: Store, split: str) -> np.ndarray:
    try:
        first, second = (np.datetime64(p.strip(), "us").astype(np.int64) for p in split.split(","))
    except ValueError:
        raise UserError(
            f"data.split: {split!r} is not two dates; write them as 2017-07-01,2017-11-01.", key="split.unreadable"
        ) from None
    if first >= second:
        raise UserError(
            f"data.split: in {split!r} the first date must be before the second.", key="split.dates_out_of_order"
        )
    ends = np.zeros((3, len(store)), np.int64)
    for dataset in np.unique(store.dataset_of[_divided(store)]):
        step, name = store.step_of(dataset), store.datasets[dataset]
        if not step.timed or not store.regular[dataset]:
            what = "a regular step" if step.timed else "timestamps"
            raise UserError(
                f"{name}: has no {what}, so dates cannot split it; choose shares such as 8:1:1.", key="split.no_time"
            )
        selected = np.flatnonzero(store.dataset_of == dataset)
        for part, moment in enumerate((first, second)):
            ends[part, selected] = rows_before(step, store.zones[dataset], store.starts[selected], int(moment))
    ends[2] = store.lengths
    return np.minimum(ends, store.lengths)


def _file_parts(store: Store) -> np.ndarray:
    """Part of each file by a hash of its name: 80 % training, 10 % validation, 10 % test, at least one file each."""
    usable = np.unique(store.file_of[_divided(store)]).tolist()
    files = len(usable)
    if files < 3:
        raise UserError(
            f"data.split: 'by-file' needs at least 3 usable files, but there are {files}; choose shares such as 8:1:1.",
            key="split.too_few_files",
        )
    names = list(dict.fromkeys(store.files))
    order = sorted(usable, key=lambda i: hashlib.sha256(f"{_FILE_SEED}:{names[i]}".encode()).digest())
    held = max(round(0.1 * files), 1)
    parts = np.zeros(len(names), np.int64)
    parts[order[files - 2 * held : files - held]] = 1
    parts[order[files - held :]] = 2
    return parts
