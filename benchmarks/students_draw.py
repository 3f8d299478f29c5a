"""The picture of ``students.py``: accuracy against cost with 95 % intervals, as a self-contained SVG.

Colours are from the Okabe-Ito set, which colour-blind readers can distinguish; roles also differ in shape. The picture
draws its own background, light or dark like the reader's system.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from potstill.reporting.figures import compact

WIDTH, HEIGHT = 960, 600
LEFT, RIGHT, TOP, BOTTOM = 64, 936, 96, 536
CHARACTER = 7.8  # mean width of a letter, in pixels
SHAPES = {
    "student": "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0Z",
    "control": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z",
    "teacher": "M0-8L8 0L0 8L-8 0Z",
    "ridge": "M-6-6H6V6H-6Z",
    "rival": "M0-7.5L7 5.5H-7Z",
}
TITLES = {
    "student": "student",
    "control": "its control: the truth alone, equal time",
    "teacher": "teacher",
    "ridge": "ridge, fitted to each data set",
    "rival": "other model",
}
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; }
text { fill: #1b1c1e; }
.title { font-size: 17px; font-weight: 600; } .soft { fill: #5d6167; } .name { font-weight: 500; }
.paper { fill: #fdfdfc; } .grid { stroke: #e3e3de; } .axis { stroke: #8b9097; }
.t0 { --c: #0072b2; } .t1 { --c: #d55e00; } .t2 { --c: #008763; } .plain { --c: #a8508a; }
.mark { fill: var(--c); stroke: #fdfdfc; stroke-width: 1; }
.hollow { fill: #fdfdfc; stroke: var(--c); stroke-width: 2; }
.span { stroke: var(--c); stroke-width: 1.5; fill: none; } .lead { stroke: #8b9097; stroke-width: 0.8; }
@media (prefers-color-scheme: dark) {
  text { fill: #ececea; } .soft { fill: #a9adb3; } .paper { fill: #131416; }
  .grid { stroke: #2d3034; } .axis { stroke: #7d8289; }
  .t0 { --c: #56b4e9; } .t1 { --c: #f0a040; } .t2 { --c: #2cc79a; } .plain { --c: #dd8fc2; }
  .mark { stroke: #131416; } .hollow { fill: #131416; }
}
"""


@dataclass
class Point:
    """One model in the picture: cost in milliseconds per series, SQL with its interval, role, colour and label."""

    role: str
    look: str
    cost: float
    value: float
    low: float
    high: float
    label: str
    shift: float = 0.0  # pixels to the right, for a control next to its student


def picture(figures: dict[str, Any]) -> str:
    """The SVG as text."""
    points = points_of(figures)
    x, x_ticks = logarithmic([p.cost for p in points])
    y, y_ticks = linear([p.low for p in points] + [p.high for p in points])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title">',
        '<title id="title">Accuracy against cost of students, controls, teachers and ridge on the suite</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="10"/>',
        f'<text class="title" x="24" y="32">Accuracy against cost on {len(figures["sets"])} data sets</text>',
        *legend(points, figures),
    ]
    for tick, text in y_ticks:
        parts.append(
            f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{RIGHT}"/>{label(LEFT - 8, y(tick) + 4, text, "end")}'
        )
    parts += [label(x(tick), BOTTOM + 20, text, "middle") for tick, text in x_ticks]
    parts += [
        f'<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/>',
        label(
            24, TOP - 14, "SQL relative to seasonal naive (1: no skill; lower is better), with 95 % CI", "start", "soft"
        ),
        label(RIGHT, BOTTOM + 44, "milliseconds per series on the CPU, batch 256 (cheaper to the left)", "end", "soft"),
        *marks(points, x, y),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def points_of(figures: dict[str, Any]) -> list[Point]:
    """Every model that was evaluated and timed."""
    teachers = list(dict.fromkeys(arm["teacher"] for arm in figures["arms"].values()))
    looks = {name: f"t{i % 3}" for i, name in enumerate(teachers)}
    points = []
    for name, other in figures["others"].items():
        role = "teacher" if name in teachers else "ridge" if name == "ridge" else "rival"
        points.append(_point(role, looks.get(name, "plain"), other, other["cost"], name))
    for arm in figures["arms"].values():
        look, family = looks[arm["teacher"]], arm["family"] or "student"
        points.append(_point("student", look, arm["student"], arm["cost"], family))
        points.append(_point("control", look, arm["control"], arm["cost"], ""))
        points[-1].shift = 13.0
    return points


def _point(role: str, look: str, found: dict[str, Any], cost: dict[str, Any], name: str) -> Point:
    sql = found["sql_rel_naive"]
    text = f"{name} · {compact(cost['parameters'])}" if name else ""
    return Point(role, look, 1000 / cost["series_per_second_b256"], sql["value"], sql["low"], sql["high"], text)


def logarithmic(values: list[float]) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Place on the x axis, and its ticks."""
    low, high = math.log10(min(values)) - 0.45, math.log10(max(values)) + 0.35
    ticks = [m * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for m in (1, 3)]
    inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return lambda v: LEFT + (math.log10(v) - low) / (high - low) * (RIGHT - LEFT), [(t, f"{t:g}") for t in inside]


def linear(values: list[float]) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Place on the y axis, and its ticks."""
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 1e9) if (max(values) - min(values)) / s <= 8)
    first, last = math.floor(min(values) / step), math.ceil(max(values) / step)
    low, high = first * step, last * step
    places = 2 if step < 0.1 else 1
    ticks = [(k * step, f"{k * step:.{places}f}") for k in range(first, last + 1)]
    return lambda v: BOTTOM - (v - low) / (high - low) * (BOTTOM - TOP), ticks


def legend(points: list[Point], figures: dict[str, Any]) -> list[str]:
    """Shapes by role and colours by teacher."""
    parts, at = [], 32.0
    for role in (role for role in SHAPES if any(p.role == role for p in points)):
        look = {"ridge": "plain", "rival": "plain"}.get(role, "t0")
        parts.append(mark(role, look, at, 56.0) + label(at + 12, 60, TITLES[role], "start", "soft"))
        at += 34 + CHARACTER * len(TITLES[role])
    at = RIGHT
    for point in reversed([p for p in points if p.role == "teacher"]):
        name = f"from {point.label.partition(' · ')[0]}"
        parts.append(label(at, 32, name, "end") + mark("student", point.look, at - CHARACTER * len(name) - 14, 28.0))
        at -= 40 + CHARACTER * len(name)
    return parts


def marks(points: list[Point], x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    """Intervals first, marks above them, labels where there is room."""
    lines, shapes, names = [], [], []
    taken = [
        box
        for p in points
        for box in (
            (x(p.cost) + p.shift - 9, y(p.value) - 9, x(p.cost) + p.shift + 9, y(p.value) + 9),
            (x(p.cost) + p.shift - 3, y(p.high), x(p.cost) + p.shift + 3, y(p.low)),
        )
    ]
    for p in points:
        at, middle = x(p.cost) + p.shift, y(p.value)
        ends = f"M{at - 4:.1f} {y(p.low):.1f}h8M{at - 4:.1f} {y(p.high):.1f}h8"
        lines.append(f'<path class="span {p.look}" d="M{at:.1f} {y(p.low):.1f}V{y(p.high):.1f}{ends}"/>')
        title = f"{p.label or 'control'}: {p.value:.3f} [{p.low:.3f}, {p.high:.3f}] at {compact(p.cost)} ms"
        shapes.append(mark(p.role, p.look, at, middle, title))
        if p.label:
            names.append(_placed(p.label, at, middle, taken))
    return [*lines, *shapes, *names]


def _placed(text: str, at: float, middle: float, taken: list[tuple[float, float, float, float]]) -> str:
    """A label at the first free place around its mark; the place is taken afterwards."""
    wide = CHARACTER * len(text)
    columns = (at - 12 - wide, at + 12, at + 27, at - wide / 2)
    spots = [(column, middle + row + 4) for row in range(-176, 177, 16) for column in columns]
    spots.sort(key=lambda spot: abs(spot[1] - middle - 4))

    def free(spot: tuple[float, float]) -> bool:
        left, base = spot
        inside = left >= LEFT and left + wide <= RIGHT and base - 11 >= TOP and base + 3 <= BOTTOM
        return inside and not any(
            left < t[2] and left + wide > t[0] and base - 11 < t[3] and base + 3 > t[1] for t in taken
        )

    left, base = next(filter(free, spots), spots[0])
    taken.append((left, base - 11, left + wide, base + 3))
    far = abs(base - 4 - middle) > 20  # then a line connects name and mark
    end = min(max(at, left), left + wide), base + 4 if base < middle else base - 12
    line = f'<path class="lead" d="M{at:.1f} {middle:.1f}L{end[0]:.1f} {end[1]:.1f}"/>' if far else ""
    return line + label(left, base, text, "start", "name")


def mark(role: str, look: str, x: float, y: float, title: str = "") -> str:
    """The shape of a role at a place."""
    kind = "hollow" if role == "control" else "mark"
    tooltip = f"<title>{escape(title)}</title>" if title else ""
    return f'<path class="{kind} {look}" d="{SHAPES[role]}" transform="translate({x:.1f} {y:.1f})">{tooltip}</path>'


def label(x: float, y: float, text: str, anchor: str, look: str = "") -> str:
    """A line of text."""
    return f'<text class="{look}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
