"""Stored teacher targets: forecasts of windows and logits of answer tokens, in checksummed shards."""
