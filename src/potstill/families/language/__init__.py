"""Causal language models through transformers' own classes."""
