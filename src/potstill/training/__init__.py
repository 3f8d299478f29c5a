"""Training: a subclass of transformers.Trainer, its callbacks and checkpoints."""
