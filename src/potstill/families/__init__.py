"""Families: what Potstill must know about one kind of model; a file or a folder each."""
