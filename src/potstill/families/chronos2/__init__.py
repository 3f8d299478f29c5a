"""Chronos-2: the family, and the cheaper pass for windows that stand alone."""
