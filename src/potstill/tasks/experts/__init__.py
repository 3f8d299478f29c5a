"""The task of mixtures: a router over finished forecasters, trained on their stored forecasts."""
