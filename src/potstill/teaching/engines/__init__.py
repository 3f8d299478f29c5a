"""Engines compute a teacher's outputs for a data set once and write them into a label store.

``forecasts`` and ``logits`` are the ``local`` engine, which labels in the calling process. An engine that distributes
the shards of a store over machines is a separate module; it also writes with ``potstill.teaching.stores.writing``.
"""
