"""Wiring of DistillHub: settings, addresses, the command line. No product rule lives here."""

from distillhub.celery import app as celery_app

__all__ = ["celery_app"]
