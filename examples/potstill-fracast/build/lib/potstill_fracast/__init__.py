"""Fracast-0 as a family of Potstill's; found through the entry point ``potstill.families``."""
