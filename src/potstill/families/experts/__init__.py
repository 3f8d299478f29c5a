"""Mixtures of forecasters: a router reads features of each context and chooses the experts that forecast it."""
