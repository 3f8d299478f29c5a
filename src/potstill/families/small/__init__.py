"""Potstill's own small students, for any teacher: linear, mixer and patch transformer, and what they share."""
