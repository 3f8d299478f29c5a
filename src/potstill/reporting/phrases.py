"""How figures are put into words, the same in every report: percentages, factors, verdicts."""

from __future__ import annotations

from typing import Literal

from potstill.reporting.figures import Interval

Verdict = Literal["better", "worse", "even"]
EVEN = 0.005  # without an interval, a difference below half a percent is called none


def percent(share: float, fine: bool = False) -> str:
    """A share as a percentage: whole, but with a decimal near 100 % and, if ``fine``, below 10 %."""
    value = share * 100
    decimals = int(abs(value - 100) < 1.5 or (fine and abs(value) < 10))
    return f"{value:.{decimals}f} %"


def signed(change: float) -> str:
    """A relative change with its sign: '+1.2 %', '−3.4 %'."""
    return f"{'+' if change >= 0 else '−'}{abs(change) * 100:.1f} %"


def times(ratio: float) -> str:
    """A factor for people: '12', '3.4', '1.27', '0.46'."""
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}" if ratio >= 1.95 else f"{ratio:.2f}"


def speed(faster: float | None) -> str:
    """A factor of speed as the headline has it; nothing where it is not known."""
    if faster is None:
        return ""
    if faster > 1.1:
        return f"{times(faster)} times faster"
    return "about as fast" if faster >= 1 / 1.1 else f"{times(1 / faster)} times slower"


def size(share: float | None) -> str:
    """A share of the size as the headline has it; nothing where it is not known."""
    if share is None:
        return ""
    if share > 1.05:
        return f"{times(share)} times its size"
    return f"{percent(share, fine=True) if share < 0.02 else percent(share)} of its size"


def joined(kept: str, faster: float | None, share: float | None) -> str:
    """The headline: what is kept of the teacher, then speed and size as far as they are known."""
    pace, weight = speed(faster), size(share)
    if pace and weight:
        joint = ", but is " if "slower" in pace else ", is "
        return f"{kept}{joint}{pace} and {weight}."
    rest = pace or weight
    return f"{kept} and is {rest}." if rest else f"{kept}."


def verdict(ratio: float, interval: Interval | None) -> Verdict:
    """Of a ratio of two errors, by its interval where there is one."""
    low, high = (interval.low, interval.high) if interval else (ratio - EVEN, ratio + EVEN)
    return "better" if high < 1 else "worse" if low > 1 else "even"


def place(value: float, low: float, high: float) -> str:
    """Where a value lies beside a usual range."""
    return "above" if value > high else "within" if value >= low else "below"
