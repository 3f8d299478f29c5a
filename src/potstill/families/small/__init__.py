"""Potstill's own small students for any teacher: linear, mixer, patch transformer, and what they share."""
