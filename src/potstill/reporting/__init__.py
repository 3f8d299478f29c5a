"""The report of a run: summary, charts and tables in one HTML file.

``draw`` reads the run's files (``inputs``) and chooses the page: ``page`` for forecasters, ``language`` for language
models. Both fill the common layout of ``shell`` with sentences (``summary``, ``phrases``), charts (``curves``,
``forecasts``, ``scatter``, ``tables``) and ``tree`` (account, provenance). ``figures`` reads metrics.json.
"""

from potstill.reporting.draw import draw_report, summary_lines

__all__ = ["draw_report", "summary_lines"]
