"""The task of language models: its data, models, training and evaluation."""
