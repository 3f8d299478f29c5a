"""The parts of ``potstill forecast``: the forecasts of a batch of series, the output table, the closing summary."""
