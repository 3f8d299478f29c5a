"""The report of the data: what was used, left out (and why) and repaired. It is printed and kept in metrics.json."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

_EXAMPLES = 5


class DataReport:
    """Counts of what was used, dropped and repaired. It stays small: each reason keeps a few examples."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        self.dropped: dict[tuple[str, str], dict[str, Any]] = {}
        self.repaired: dict[str, dict[str, Any]] = {}
        self.read: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []

    def add_used(self, **counts: int) -> None:
        """Add to the totals, such as ``files=1, series=7, rows=17420``."""
        for what, count in counts.items():
            self.used[what] = self.used.get(what, 0) + int(count)

    def add_dropped(self, what: str, why: str, kind: str = "series", count: int = 1) -> None:
        """Count an item (or ``count`` of them) as left out: its name, a short reason, and its kind."""
        self._count(self.dropped.setdefault((kind, why), {"count": 0, "examples": []}), what, count)

    def add_repaired(self, how: str, where: str, count: int = 1) -> None:
        """Count repaired values or rows: what was done, and in which file or series."""
        if count:
            self._count(self.repaired.setdefault(how, {"count": 0, "examples": []}), where, count)

    def add_read(self, how: str, where: str) -> None:
        """Count a file that was read in a way, such as ``ids 'sku', time 'day', values 'qty'``."""
        self._count(self.read.setdefault(how, {"count": 0, "examples": []}), where, 1)

    def add_note(self, text: str) -> None:
        """Note a decision that the user may want to check, such as which column is the time column."""
        if text not in self.notes:
            self.notes.append(text)

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types; ``DataReport.from_dict`` is the inverse."""
        dropped = [{"kind": kind, "why": why, **entry} for (kind, why), entry in self.dropped.items()]
        repaired = [{"how": how, **entry} for how, entry in self.repaired.items()]
        read = [{"how": how, **entry} for how, entry in self.read.items()]
        tree = {"used": self.used, "dropped": dropped, "repaired": repaired, "read": read, "notes": self.notes}
        return copy.deepcopy(tree)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> DataReport:
        """Restore a report from the output of ``to_dict``."""
        report, tree = cls(), copy.deepcopy(tree)
        report.used, report.notes = tree["used"], tree["notes"]
        report.dropped = {(e.pop("kind"), e.pop("why")): e for e in tree["dropped"]}
        report.repaired = {e.pop("how"): e for e in tree["repaired"]}
        report.read = {e.pop("how"): e for e in tree.get("read", ())}  # reports of older versions have none
        return report

    def add(self, other: DataReport) -> None:
        """Add another report's counts and notes to this one."""
        self.add_used(**other.used)
        for (kind, why), entry in other.dropped.items():
            self._join(self.dropped.setdefault((kind, why), {"count": 0, "examples": []}), entry)
        for how, entry in other.repaired.items():
            self._join(self.repaired.setdefault(how, {"count": 0, "examples": []}), entry)
        for how, entry in other.read.items():
            self._join(self.read.setdefault(how, {"count": 0, "examples": []}), entry)
        for note in other.notes:
            self.add_note(note)

    def copy(self) -> DataReport:
        """An independent copy."""
        return DataReport.from_dict(self.to_dict())

    def lines(self) -> list[str]:
        """Readable lines: one for what was used, then one per reason, repair and note."""
        used = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in self.used.items())
        lines = [f"used: {used}"] if used else []
        for how, entry in self.read.items():
            lines.append(f"columns: {how}: {_examples(entry)}")
        for (kind, why), entry in self.dropped.items():
            lines.append(f"left out: {entry['count']:,} {kind} ({why}): {_examples(entry)}")
        for how, entry in self.repaired.items():
            lines.append(f"repaired: {entry['count']:,} {how}: {_examples(entry)}")
        return lines + self.notes

    def reasons(self) -> list[str]:
        """Why items were left out, most frequent first, such as ``constant (3 series)``."""
        ranked = sorted(self.dropped.items(), key=lambda item: -item[1]["count"])
        return [f"{why} ({entry['count']:,} {kind})" for (kind, why), entry in ranked]

    @staticmethod
    def _join(entry: dict[str, Any], more: dict[str, Any]) -> None:
        entry["count"] += more["count"]
        entry["examples"] = list(dict.fromkeys([*entry["examples"], *more["examples"]]))[:_EXAMPLES]

    @staticmethod
    def _count(entry: dict[str, Any], what: str, count: int) -> None:
        entry["count"] += int(count)
        if len(entry["examples"]) < _EXAMPLES and what not in entry["examples"]:
            entry["examples"].append(what)


def _examples(entry: dict[str, Any]) -> str:
    examples: Iterable[str] = entry["examples"]
    return ", ".join(examples) + (", …" if entry["count"] > len(entry["examples"]) >= _EXAMPLES else "")
