"""What a run of language models does otherwise than one of forecasters: its data, models, lessons and end."""
