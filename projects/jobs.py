"""Celery jobs: ids in, one call, no logic."""
