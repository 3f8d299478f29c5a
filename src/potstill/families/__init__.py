"""Families: what Potstill must know about one kind of model, one file each."""
