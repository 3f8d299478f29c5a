"""Numbers in words, the same in every report: percentages, factors, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from potstill.reporting.figures import SIMILAR_SPEED, Interval

Verdict = Literal["better", "worse", "even", "unknown"]
SMALLEST_DIFFERENCE = 0.005  # without an interval, a smaller difference (half a percent) counts as none


def percent(share: float, fine: bool = False) -> str:
    """A share as a percentage: whole, but with a decimal near 100 % and, if ``fine``, below 10 %."""
    value = share * 100
    decimals = int(abs(value - 100) < 1.5 or (fine and abs(value) < 10))
    return f"{value:.{decimals}f} %"


def signed(change: float) -> str:
    """A relative change with its sign: '+1.2 %', '−3.4 %'."""
    return f"{'+' if change >= 0 else '−'}{abs(change) * 100:.1f} %"


def times(ratio: float) -> str:
    """A factor: '12', '3.4', '1.27', '0.46'."""
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}" if ratio >= 1.95 else f"{ratio:.2f}"


def speed(faster: float | None) -> str:
    """A factor of speed in words; empty if it is not known."""
    if faster is None:
        return ""
    if faster > SIMILAR_SPEED:
        return f"{times(faster)} times faster"
    return "about as fast" if faster >= 1 / SIMILAR_SPEED else f"{times(1 / faster)} times slower"


def size(share: float | None) -> str:
    """A share of the size in words; empty if it is not known."""
    if share is None:
        return ""
    if share > 1.05:
        return f"{times(share)} times its size"
    return f"{percent(share, fine=True) if share < 0.02 else percent(share)} of its size"


def headline_sentence(kept: str, faster: float | None, share: float | None) -> str:
    """The headline: what is kept of the teacher, then speed and size if they are known."""
    pace, weight = speed(faster), size(share)
    if pace and weight:
        joint = ", but is " if "slower" in pace else ", is "
        return f"{kept}{joint}{pace} and {weight}."
    rest = pace or weight
    return f"{kept} and is {rest}." if rest else f"{kept}."


def with_better_models(sentence: str, better: Sequence[tuple[str, str, float]]) -> str:
    """The headline with the models that are better at its end, best first, so that no gain is reported without them.

    Parameters
    ----------
    sentence
        The headline so far.
    better
        Name, metric, and how much lower the metric is than the subject's, as a share.
    """
    if not better:
        return sentence
    ranked = sorted(better, key=lambda item: -item[2])
    if len(ranked) == 1:
        name, what, lower = ranked[0]
        return f"{sentence.removesuffix('.')}; {name} is better ({what} {percent(lower, fine=True)} lower)."
    named = [f"{name} ({what} {percent(lower, fine=True)} lower)" for name, what, lower in ranked]
    return f"{sentence.removesuffix('.')}; {joined(named)} are better."


def even(interval: Interval | None) -> str:
    """The words for a difference that counts as none."""
    if interval is None:
        return f"no meaningful difference (below {SMALLEST_DIFFERENCE * 100:g} %)"
    return "no significant difference (95 % CI includes 0)"


def verdict(ratio: float, interval: Interval | None, too_few: str = "") -> Verdict:
    """Whether a ratio of two errors is below or above one, by its interval if there is one; ``too_few``: unknown."""
    if too_few:
        return "unknown"
    low, high = (
        (interval.low, interval.high) if interval else (ratio - SMALLEST_DIFFERENCE, ratio + SMALLEST_DIFFERENCE)
    )
    return "better" if high < 1 else "worse" if low > 1 else "even"


def joined(names: Sequence[str]) -> str:
    """Names as a list: 'a', 'a and b', 'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def compare_with_range(value: float, low: float, high: float) -> str:
    """The position of a value relative to a usual range."""
    return "above" if value > high else "within" if value >= low else "below"


def fitted_to(horizons: int) -> str:
    """To what the intervals of a forecast are fitted."""
    last = "the last horizon" if horizons == 1 else f"the last {horizons:,} horizons"
    return f"fitted to the errors of {last}" if horizons else "not fitted to past errors"
