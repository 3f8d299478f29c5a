"""Tables that are larger than the memory: read in blocks into a store, with the result of reading them as a whole."""
