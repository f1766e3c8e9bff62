"""The product's settings, in a home of the tests' own: never the developer's.

A module and not a line of conftest.py, because pytest-django reads settings before any conftest.
"""

import os
import tempfile

os.environ["DISTILLHUB_HOME"] = os.environ.get("DISTILLHUB_TEST_HOME") or tempfile.mkdtemp(
    prefix="distillhub-test-"
)
# What the tests start (a supervisor, a worker) reads the product's own settings.
os.environ["DJANGO_SETTINGS_MODULE"] = "distillhub.settings"

from distillhub.settings import *  # noqa: F403
