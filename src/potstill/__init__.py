"""Potstill."""
