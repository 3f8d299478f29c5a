"""Engines compute a teacher's outputs for a data set once and write them into a label store.

``forecasts`` and ``logits`` label in the calling process, or give the unfinished shards to a function that distributes
them (``potstill.compute``); its workers label each shard with the same code.
"""
