"""Copy weights from a teacher to a student before training."""
