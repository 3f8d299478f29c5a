"""Weights that a student takes over from its teacher before any training."""
