"""Families: one file or folder per kind of model, with all that Potstill needs to load and run it."""
