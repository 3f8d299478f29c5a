"""Fracast-0 as a model family for Potstill, which finds it through the entry point ``potstill.families``."""
