"""Tables made from a number, with their own truth: what pandas' offsets give, and the values that were written.

A table is a CSV file; separators, date formats, frequencies, layouts of ids, zones, gaps and orders of rows vary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from potstill.data.series.opening import open_store
from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.recipe import SeriesData

AHEAD = 3
#: notes that say that a table may be read wrongly
HINTS = ("fit both", "read as an order", "no regular time step", "no time column", "gaps too long")
_DAYS = ("D", "2D", "B", "W-SUN", "W-WED", "W-MON", "2W-MON", "MS", "ME", "BMS", "BME", "2MS", "QS", "QS-FEB", "QE",
         "QE-JAN", "BQE", "YS", "YE-JUN", "SMS", "SME", "day 17", "day 29", "day 30", "WOM-3FRI")  # fmt: skip
_CLOCKS = ("min", "15min", "h", "6h", "12h", "90min")
_DATES = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y", "%y-%m-%d",
          "%b %d, %Y", "%d-%b-%Y", "%d %B %Y", "%Y%m%d")  # fmt: skip
_TIMES = (" %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p")
_EPOCHS = {"epoch s": 10**9, "epoch ms": 10**6, "epoch us": 10**3, "epoch ns": 1}
_SPECIAL = {"MS": ["%Y%m", "%Y-%m", "%m/%Y", "%b %Y"], "QS": ["quarter", "Qn year"], "YS": ["%Y"],
            "W-MON": ["week", "weekT", "%G%V"], "h": ["day+hour", "day+hour24", "day+time"]}  # fmt: skip
_ZONES = ("Z", "+05:30", "-03:00", "Europe/Berlin", "America/New_York", "Australia/Sydney")


@dataclass
class MadeTable:
    """A table as text, how it was made, and the truth: times (UTC, without gaps) and values of each series."""

    text: str
    made: dict[str, str]
    times: dict[str, pd.DatetimeIndex] = field(default_factory=dict)
    ahead: dict[str, pd.DatetimeIndex] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)


def make_table(seed: int) -> MadeTable:
    """The table of a number."""
    rng = np.random.default_rng(seed)
    freq = str(rng.choice(_DAYS if rng.random() < 0.6 else _CLOCKS))
    layout = str(rng.choice(["wide", "unique_id", "item_id", "sku", "region", "store_nbr"]))
    zone = str(rng.choice(_ZONES)) if rng.random() < 0.25 else ""
    form = _format(rng, freq, zone)
    separator = str(rng.choice([",", ";", "\t", "|"]))
    comma = separator == ";" and rng.random() < 0.5
    table = MadeTable("", {"freq": freq, "layout": layout, "zone": zone, "form": form, "separator": separator})
    first, rows = _start(rng, freq), int(rng.integers(12, 90))
    count = int(rng.integers(1, 4)) if layout == "wide" else int(rng.integers(2, 5))
    freqs = [freq] * count
    if layout != "wide" and form in (*_DATES, *_EPOCHS, "iso", "isoT") and freq in _DAYS and rng.random() < 0.2:
        freqs[-1] = table.made["other"] = str(rng.choice([freq for freq in _DAYS if not freq.startswith("Y")]))
    pieces = []
    for k in range(count):
        offset = 0 if layout == "wide" else int(rng.integers(0, 4))
        shared = pd.DatetimeIndex(_stamps(first, rows, freqs[k], zone))
        stamps = shared[offset : rows - (0 if layout == "wide" else int(rng.integers(0, 3)))]
        keep = _kept(rng, len(stamps))
        values = np.round(50 + 10 * k + 5 * np.sin(np.arange(len(stamps)) / 3) + rng.normal(size=len(stamps)), 2)
        name = f"v{k}" if layout == "wide" else str(100 + k) if layout == "store_nbr" else f"item {chr(97 + k)}"
        table.times[name], table.values[name] = pd.DatetimeIndex(stamps[keep]), values[keep]
        pieces.append(pd.DataFrame({"time": stamps[keep], "id": name, "value": values[keep]}))
    frame = pd.concat(pieces, ignore_index=True)
    if zone and len({stamp.utcoffset() for stamp in frame["time"]}) == 1:
        zone = frame["time"].iloc[0].strftime("%z")  # the text shows an offset only, and no change of it
    for (name, stamps), step in zip(table.times.items(), freqs, strict=True):
        last: Any = stamps[-1]
        last = last.tz_convert(pd.Timestamp(f"2000-01-01 00:00{zone}").tz) if zone[:1] in ("+", "-") else last
        table.ahead[name] = pd.DatetimeIndex(_stamps(last, AHEAD + 1, step, zone)[1:])
    if layout == "wide":
        frame = frame.pivot(index="time", columns="id", values="value").reset_index()
    else:
        order = str(rng.choice(["id", "time", "shuffled"]))
        table.made["order"] = order
        if order == "time":
            frame = frame.sort_values("time", kind="stable")
        elif order == "shuffled":
            frame = frame.sample(frac=1, random_state=seed)
        frame = frame.rename(columns={"id": layout, "value": str(rng.choice(["y", "target", "sales"]))})
    table.text = _written(frame, form, separator, comma)
    return table


def _format(rng: np.random.Generator, freq: str, zone: str) -> str:
    clock = freq in _CLOCKS
    if zone:
        return str(rng.choice(["iso", "isoT"]))
    special = _SPECIAL.get(freq, [])
    if special and rng.random() < 0.4:
        return str(rng.choice(special))
    if rng.random() < 0.15:
        return str(rng.choice(list(_EPOCHS)))
    if not clock and rng.random() < 0.1:
        return "spreadsheet"
    # years of two digits are 1969 to 2068
    date = str(rng.choice([date for date in _DATES if not (freq.startswith("Y") and "%y" in date)]))
    if not clock:
        return date
    if date == "%Y%m%d":
        return str(rng.choice(["%Y%m%d%H%M", "%Y%m%d %H:%M", "%Y%m%dT%H%M%S"]))
    return date + str(rng.choice(_TIMES))


def _start(rng: np.random.Generator, freq: str) -> pd.Timestamp:
    hours = int(rng.integers(0, 24)) if freq in ("min", "15min", "h") else 0
    return pd.Timestamp(2008, 1, 1) + pd.Timedelta(days=int(rng.integers(0, 4500)), hours=hours)  # pyright: ignore


def _stamps(first: pd.Timestamp, rows: int, freq: str, zone: str) -> pd.DatetimeIndex:
    """Pandas' dates from ``first`` on, in a zone if there is one."""
    name = {"": None, "Z": "UTC"}.get(zone, zone)
    if first.tzinfo is None and name is not None:
        first = first.tz_localize(name)
    if freq.startswith("day"):
        day = int(freq.split()[1])
        step = [pd.Timestamp(first) + pd.DateOffset(months=k, day=day) for k in range(rows)]
        return pd.DatetimeIndex(step)
    return pd.date_range(first, periods=rows, freq=freq)


def _kept(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Which rows are written: all in most tables; else a few are missing in the middle."""
    keep = np.ones(rows, bool)
    if rng.random() < 0.2:
        keep[rng.integers(2, rows - 2, size=max(rows // 20, 1))] = False
    return keep


def _written(frame: pd.DataFrame, form: str, separator: str, comma: bool) -> str:
    stamps = pd.DatetimeIndex(frame["time"])
    rest = frame.drop(columns="time")
    rest = rest.map(lambda x: str(x).replace(".", ",") if comma and isinstance(x, float) else x)
    columns = {"date": [_cell(form)(stamp) for stamp in stamps]}
    if form.startswith("day+"):
        columns = {"date": [f"{s:%Y-%m-%d}" for s in stamps]}
        if form == "day+time":
            columns["time"] = [f"{s:%H:%M}" for s in stamps]
        else:
            columns["hour"] = [str(s.hour + (form == "day+hour24")) for s in stamps]
    return pd.concat([pd.DataFrame(columns), rest.reset_index(drop=True)], axis=1).to_csv(sep=separator, index=False)


def _cell(form: str) -> Callable[[pd.Timestamp], str]:
    if form in _EPOCHS:
        return lambda stamp: str(stamp.value // _EPOCHS[form])
    return {
        "iso": lambda stamp: str(stamp),
        "isoT": lambda stamp: stamp.isoformat(),
        "quarter": lambda stamp: f"{stamp.year}Q{stamp.quarter}",
        "Qn year": lambda stamp: f"Q{stamp.quarter} {stamp.year}",
        "week": lambda stamp: f"{stamp:%G-W%V}",
        "weekT": lambda stamp: f"{stamp:%GW%V}",
        "spreadsheet": lambda stamp: str((stamp - pd.Timestamp("1899-12-30")).days),
    }.get(form, lambda stamp: stamp.strftime(form))


def outcome(table: MadeTable, folder: Path) -> tuple[str, str]:
    """Read a table: ``right``, ``refused``, ``noted`` (wrong, but a note says what may be wrong) or ``misread``."""
    file = folder / "table.csv"
    file.write_text(table.text, encoding="utf-8")
    try:
        store = open_store(SeriesData(paths=[str(file)]), folder / "cache")
    except UserError as error:
        return "refused", str(error)
    wrong = difference(table, store)
    if not wrong:
        return "right", ""
    notes = [note for note in store.report.notes if any(hint in note for hint in HINTS)]
    return ("noted", f"{wrong}; {notes[0]}") if notes else ("misread", wrong)


def difference(table: MadeTable, store: Store) -> str:
    """What a store has wrong, or an empty text: its series, their values, their times, the times after the last."""
    names = [name.partition("/")[2] for name in store.names]
    if sorted(names) != sorted(table.values):
        return f"series {names[:4]} instead of {sorted(table.values)}"
    for i, name in enumerate(names):
        values = store.series(i)
        known = np.flatnonzero(np.isfinite(values))
        if len(known) != len(table.values[name]) or not np.allclose(values[known], table.values[name], rtol=1e-5):
            return f"values of {name}"
        rows = int(store.lengths[i])
        stamps = store.timestamps(i, 0, rows + AHEAD)
        for what, got, expected in (
            ("times", stamps[known], table.times[name]),
            ("times ahead", stamps[rows:], table.ahead[name]),
        ):
            utc = expected.tz_convert(None) if expected.tz is not None else expected
            if not np.array_equal(got.astype("M8[us]"), utc.to_numpy().astype("M8[us]")):
                return f"{what} of {name}: {got[:3]} instead of {utc[:3].to_numpy()} ({store.frequency})"
    return ""
