"""Series in, windows out: readers → store (memory-mapped) → splits → windows, and the report of what was used.

A user's files are read once into a flat float32 file (``store``). A window id is an integer from which the series and
the origin are computed (``windows``); so is the shuffled order (``permutation``). Nothing here imports models.
"""
