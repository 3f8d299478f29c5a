"""The report of a run: what was measured, in plain words, charts and tables, in one HTML file.

``page`` lays it out from ``summary`` (sentences), ``charts`` (``curves``, ``forecasts``, ``scatter``, ``tables``) and
``tree`` (account, provenance); ``figures`` reads metrics.json and ``inputs`` the run's files.
"""

from potstill.evaluation.report.page import draw_report
from potstill.evaluation.report.summary import summary_lines

__all__ = ["draw_report", "summary_lines"]
