"""The steps of a table's series: each series has its own, and series of equal steps form a group."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from potstill.data.series.calendar import DAY, TimeStep
from potstill.data.series.inference import Spacing, infer_step, median_step, step_of

_ODD = 0.1  # at most this share of a series' rows may be off a step that it is said to have
_USUAL = 0.5  # of a series' distances are one step, if it has the step of the whole table
_CLEAR, _LEAST_GAPS = 0.8, 5  # a series has a step of its own if this share of at least so many distances is one step
_LEAST_BUSINESS_DAYS = 5
_RANGE = 4_000_000  # rows looked at together: times may be in a memory map that is larger than the memory


@dataclass
class StepGroups:
    """G groups of series, K series: ``group_of [K]`` is each series' group, -1 if it has no row."""

    steps: list[TimeStep]
    regular: list[bool]
    group_of: np.ndarray

    @property
    def labels(self) -> list[str]:
        """The groups' names: the alias of the step, after the word ``irregular`` if the rows do not follow it."""
        steps = zip(self.steps, self.regular, strict=True)
        return [("" if regular else "irregular, ") + (step.alias or "no time") for step, regular in steps]


def group_by_step(times: np.ndarray, bounds: np.ndarray) -> StepGroups:
    """Infer the step of each series.

    The step that all series have together is taken for every series that follows it. Another series has its own step
    if it is clear. What has too few rows to tell joins the largest group that its rows fit.

    Parameters
    ----------
    times
        ``[N]`` int64 microseconds of the rows in order of (series, time).
    bounds
        ``[K + 1]``: series k has the rows ``bounds[k]:bounds[k + 1]``.
    """
    counts = np.diff(bounds)
    common, regular = step_of(_spacing(times, bounds))
    doubtful = counts > 1
    if regular:
        fits, usual = follow(times, bounds, common)
        doubtful &= ~(fits & usual) | _may_be_business(times, bounds, common)
    if not doubtful.any() and (regular or not common.timed):
        return StepGroups([common], [regular], np.where(counts > 0, 0, -1))
    return _grouped(times, bounds, common if regular else None, doubtful)


def ranges_of(bounds: np.ndarray, most: int) -> list[slice]:
    """Ranges of series with at most ``most`` rows together, or with one series; ``bounds [K + 1]`` are their rows."""
    ranges, first = [], 0
    while first < len(bounds) - 1:
        end = int(np.searchsorted(bounds, bounds[first] + most, side="right")) - 1
        ranges.append(slice(first, max(end, first + 1)))
        first = ranges[-1].stop
    return ranges


def _spacing(times: np.ndarray, bounds: np.ndarray) -> Spacing:
    """The spacing of all series; counted if they have more rows than one range."""
    found: list[Spacing] = []
    for part in ranges_of(bounds, _RANGE):
        own, inner = _part(times, bounds, part)
        breaks, inner = np.zeros(max(len(own) - 1, 0), bool), inner[1:-1]
        breaks[inner[(inner > 0) & (inner < len(own))] - 1] = True
        spacing = Spacing.of(own, breaks)
        found = [Spacing.joined([*found, spacing])] if len(times) > _RANGE else [spacing]
    return found[0] if found else Spacing.of(times, np.zeros(0, bool))


def _part(times: np.ndarray, bounds: np.ndarray, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a range of series, in memory, and their bounds within it."""
    inner = bounds[part.start : part.stop + 1]
    return np.asarray(times[inner[0] : inner[-1]]), inner - inner[0]


def follow(times: np.ndarray, bounds: np.ndarray, step: TimeStep) -> tuple[np.ndarray, np.ndarray]:
    """``[K]`` bool twice: whether a series is on a step's grid, and whether most of its distances are one step."""
    fits, usual = np.ones(len(bounds) - 1, bool), np.ones(len(bounds) - 1, bool)
    for part in ranges_of(bounds, _RANGE):
        own, inner = _part(times, bounds, part)
        if len(own):
            fits[part], usual[part] = _follow(own, inner, step)
    return fits, usual


def _follow(times: np.ndarray, bounds: np.ndarray, step: TimeStep) -> tuple[np.ndarray, np.ndarray]:
    off, increments = step.off_steps(times), step.increments(times)
    pairs = np.maximum(np.diff(bounds) - 1, 0)
    shares = []
    for flags in (off, increments == 1):
        total = np.concatenate([[0], np.cumsum(flags)])
        first, last = np.minimum(bounds[:-1], len(off)), np.minimum(np.maximum(bounds[1:] - 1, bounds[:-1]), len(off))
        shares.append((total[last] - total[first]) / np.maximum(pairs, 1))
    return (shares[0] <= _ODD) & _phase(times, bounds, step), shares[1] >= _USUAL


def _phase(times: np.ndarray, bounds: np.ndarray, step: TimeStep) -> np.ndarray:
    """``[K]`` bool: whether a series' first row is on the calendar unit of a step."""
    first = times[np.minimum(bounds[:-1], len(times) - 1)]
    return step.on_grid(first) | (np.diff(bounds) > 1)


def _may_be_business(times: np.ndarray, bounds: np.ndarray, common: TimeStep) -> np.ndarray:
    """``[K]`` bool: series without a row at weekends in a table of days."""
    if common.micros != DAY:
        return np.zeros(len(bounds) - 1, bool)
    none = np.zeros(len(bounds) - 1, bool)
    for part in ranges_of(bounds, _RANGE):
        own, inner = _part(times, bounds, part)
        weekend = np.concatenate([[0], np.cumsum((own // DAY + 3) % 7 > 4)])
        none[part] = weekend[inner[1:]] == weekend[inner[:-1]]
    return none & (np.diff(bounds) > _LEAST_BUSINESS_DAYS)


def _grouped(times: np.ndarray, bounds: np.ndarray, common: TimeStep | None, doubtful: np.ndarray) -> StepGroups:
    counts = np.diff(bounds)
    chosen: dict[int, TimeStep] = {}
    unclear: dict[int, TimeStep | None] = {}
    for k in np.flatnonzero(doubtful).tolist():
        own = times[bounds[k] : bounds[k + 1]]
        step, regular = infer_step(own, np.zeros(len(own) - 1, bool))
        if regular and len(own) > _LEAST_GAPS and (step.increments(own) == 1).mean() >= _CLEAR:
            chosen[k] = step
        else:
            unclear[k] = step if regular else None
    if common is not None:
        chosen |= {int(k): common for k in np.flatnonzero(~doubtful & (counts > 1))}
    if not chosen:
        chosen |= {k: step for k, step in unclear.items() if step is not None}
    rows: dict[TimeStep, int] = {}
    for k, step in chosen.items():
        rows[_plain(step)] = rows.get(_plain(step), 0) + int(counts[k])
    known = sorted(rows, key=lambda step: -rows[step])
    irregular: list[int] = []
    for k in np.flatnonzero(counts > 0).tolist():
        if k in chosen:
            continue
        own = times[bounds[k] : bounds[k + 1]]
        fitting = next((step for step in known if _fits(own, step)), unclear.get(k))
        if fitting is not None:
            chosen[k] = fitting
        elif counts[k] == 1 and known:
            chosen[k] = known[0]
        else:
            irregular.append(k)
    return _collected(times, bounds, chosen, irregular)


def _fits(times: np.ndarray, step: TimeStep) -> bool:
    return bool(follow(times, np.array([0, len(times)]), step)[0][0])


def _plain(step: TimeStep) -> TimeStep:
    """The step without anchor: weeks from Monday and from Sunday have one length."""
    return replace(step, anchor="")


def _collected(times: np.ndarray, bounds: np.ndarray, chosen: dict[int, TimeStep], irregular: list[int]) -> StepGroups:
    """Groups in the order of their first series; an anchor is kept if all series of a group have it."""
    group_of = np.full(len(bounds) - 1, -1)
    plain: list[TimeStep | None] = []
    anchors: list[set[str]] = []
    for k in sorted([*chosen, *irregular]):
        step = chosen.get(k)
        key = _plain(step) if step is not None else None
        if key not in plain:
            plain.append(key)
            anchors.append(set())
        group_of[k] = plain.index(key)
        # a series of one row has the anchor of its group
        anchors[group_of[k]] |= {step.anchor} if step is not None and bounds[k + 1] - bounds[k] > 1 else set()
    steps = []
    for key, found in zip(plain, anchors, strict=True):
        if key is None:
            gaps = np.concatenate([np.diff(times[bounds[k] : bounds[k + 1]]) for k in irregular])
            steps.append(median_step(gaps) if len(gaps) else TimeStep())
        else:
            steps.append(replace(key, anchor=next(iter(found)) if len(found) == 1 else ""))
    return StepGroups(steps, [key is not None for key in plain], group_of)
