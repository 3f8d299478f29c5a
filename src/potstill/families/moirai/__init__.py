"""Moirai, with the modules of uni2ts: checkpoints, packed tokens, the forward pass and the mixture's quantiles."""
