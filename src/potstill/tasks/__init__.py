"""Tasks: what a run of forecasters or of language models needs, from the plan to the report."""
