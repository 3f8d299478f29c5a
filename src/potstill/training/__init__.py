"""Training: one subclass of transformers.Trainer, its callbacks and checkpoints."""
