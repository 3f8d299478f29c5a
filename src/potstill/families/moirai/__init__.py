"""Moirai through uni2ts: checkpoints, packed tokens, the pass, and the quantiles of its mixture."""
