"""Chronos-2: the family, and a cheaper forward pass than upstream's."""
