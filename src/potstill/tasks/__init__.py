"""Tasks: the steps of a run for forecasters and for language models, from the plan to the report."""
