"""Terms by name: Potstill's own, those of the recipe's files, and those of installed packages."""

from __future__ import annotations

import importlib

from potstill.errors import UnknownName, UserError
from potstill.objectives.base import USER_TERMS, Term
from potstill.objectives.names import TERM_CLASSES

ENTRY_POINTS = "potstill.terms"


def find_term(name: str) -> type[Term]:
    """The term's class by its name: Potstill's own, the recipe's imports, or an entry point of ``potstill.terms``.

    Raises
    ------
    UnknownName
        Listing the known names and the nearest.
    """
    if name in TERM_CLASSES:
        module, attribute = TERM_CLASSES[name]
        return getattr(importlib.import_module(module), attribute)
    if name in USER_TERMS:
        return USER_TERMS[name]
    from importlib.metadata import entry_points

    plugins = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in plugins:
        return plugins[name].load()
    raise UnknownName("term", name, [*TERM_CLASSES, *USER_TERMS, *plugins])


def import_terms(paths: list[str]) -> None:
    """Run the Python files in ``imports`` of a recipe; their Term subclasses are then known by name.

    Raises
    ------
    UserError
        If a file is missing or raises an exception.
    """
    import importlib.util
    import sys
    from pathlib import Path

    for path in map(Path, paths):
        if not path.is_file():
            raise UserError(
                f"imports: {path}: no such file; paths are relative to the working directory.",
                key="imports.no_such_file",
            )
        # the full path names the module: files with equal names are separate modules, a file read twice is one module
        spec = importlib.util.spec_from_file_location(f"potstill_user:{path.resolve()}", path)
        if spec is None or spec.loader is None:
            raise UserError(
                f"imports: {path}: is not a Python file; give one that ends in .py.", key="imports.not_python"
            )
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"imports: {path}: {type(error).__name__}: {error}", key="imports.failed") from error
