"""Where the work of a verb runs: in this process, or on the machines of a Ray cluster (``--engine ray``).

``options`` says what was asked for, ``cluster`` starts or joins the cluster, ``stream`` maps items over its workers,
``worker`` is the code in a worker. What is computed does not depend on the engine.
"""
