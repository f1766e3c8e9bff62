"""Watching a shipped model: what came is taken in, counted into windows, and scored.

    python -m training.engine watch FOLDER        (job.py)

No torch is imported here unless a model has to answer: such a look begins in a second.
"""
