"""Evaluation of language models: generated answers, distance from the teacher, cost.

``evaluate`` combines ``scoring`` (passes over held-out answers), ``metrics`` (metrics and intervals), ``generations``
(with ``rouge``) and ``cost``. ``validation`` is the metric that selects the best checkpoint in training.
``stored_logits_gap`` measures how much of the distance to the teacher the stored logits show.
"""
