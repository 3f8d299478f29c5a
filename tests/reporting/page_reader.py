"""Parses a report like a browser, as far as the tests need it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from potstill.reporting import draw_report

VOID = {"meta", "link", "br", "rect", "path"}


class Page(HTMLParser):
    """Checks that tags are nested, and collects text, scripts and every external reference."""

    def __init__(self, text: str):
        super().__init__()
        self.stack: list[str] = []
        self.texts: list[str] = []
        self.tables: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "action", "data", "poster", "srcset")]
        self.handlers += [k for k, _ in attrs if k.startswith("on") or k == "style"]
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A void element."""

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self.stack or self.stack[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(next(body for attrs, body in self.scripts if attrs.get("id") == "data"))


def draw(folder: Path) -> tuple[str, Page]:
    """Write the report of a run; returns its HTML text and the parsed page."""
    text = draw_report(folder).read_text(encoding="utf-8")
    return text, Page(text)
