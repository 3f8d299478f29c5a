"""Series in, windows out: readers → store (memory-mapped) → splits → windows, and the report of what was used.

A user's files are read once into a flat float32 file (``store``); a window is a number from which arithmetic finds the
series and the origin (``windows``); shuffling is arithmetic too (``permutation``). Nothing here knows models.
"""
