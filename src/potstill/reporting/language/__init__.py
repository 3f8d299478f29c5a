"""The page of language models: distance from the teacher, quality on held-out answers, what they write and cost."""
