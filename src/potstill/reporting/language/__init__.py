"""The report of language models: distance from the teacher, quality on held-out answers, generated answers, cost."""
