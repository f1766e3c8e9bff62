"""The training engine: pure PyTorch, usable alone, without Django, Celery or a database.

    python -m training.engine train JOB_DIR      one job folder in, a journal of events out
    python -m training.engine inspect JOB_DIR    what a model is, without training it
    python -m training.engine methods            the catalog of everything it offers, as JSON

Read `loop.py` first. One file in losses/, schemes/, tasks/ or students/ is one method.
This module and config, events, errors, journal, options, registry import no torch, so that a web
process may validate a configuration with exactly the code that will run it.
"""
