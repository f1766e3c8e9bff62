"""Wiring of DistillHub: settings, addresses, the command line. No product rule lives here."""

__version__ = "0.1.0"
