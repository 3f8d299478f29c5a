"""Language models beside one another: what they answer, how far they are from their teacher, what they cost.

``evaluate`` joins ``scoring`` (passes over held-out answers), ``metrics`` (figures and intervals), ``generations``
(with ``rouge``) and ``cost``; ``validation`` is the figure that picks the best checkpoint in training.
"""
