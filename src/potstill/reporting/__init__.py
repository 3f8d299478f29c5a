"""The report of a run: what was measured, in plain words, charts and tables, in one HTML file.

``draw`` reads the run's files (``inputs``) and picks the page: ``page`` of forecasters, or ``language``. Both fill the
frame of ``shell`` with sentences (``summary``, ``phrases``), charts (``curves``, ``forecasts``, ``scatter``,
``tables``) and ``tree`` (account, provenance); ``figures`` reads metrics.json.
"""

from potstill.reporting.draw import draw_report, summary_lines

__all__ = ["draw_report", "summary_lines"]
