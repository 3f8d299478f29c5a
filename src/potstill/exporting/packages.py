"""The packages that exports need, which are an extra; and their notes to developers, which are not shown."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from potstill.errors import UserError

_LOGGERS = ("", "root", "torch.onnx", "torch.export", "onnxscript", "onnx_ir", "nncf")


def require(*names: str) -> None:
    """Import packages.

    Raises
    ------
    UserError
        If one is not installed.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"export: needs the package {error.name or name}; run `pip install 'potstill[export]'`.",
                key="export.missing_package",
            ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters and quantisers print and log below an error."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    silent = io.StringIO()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
