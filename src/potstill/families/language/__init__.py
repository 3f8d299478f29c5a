"""Causal language models, with the classes of transformers."""
