"""Loss terms by name, one per file, and their weighted sum."""
