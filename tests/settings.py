"""The product's settings, in a home of the tests' own: never the developer's.

A module and not a line of conftest.py, because pytest-django reads settings before any conftest.
"""

import atexit
import os
import shutil
import tempfile

# Of each process its own, also of those that pytest-xdist starts: in one home they would count
# each other's messages.
_process = os.environ.get("PYTEST_XDIST_WORKER", "alone")
_home = tempfile.mkdtemp(prefix=f"distillhub-test-{_process}-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["DISTILLHUB_HOME"] = _home
# What the tests start (a supervisor, a worker) reads the product's own settings. pytest itself is
# told of these by `--ds`, which such a variable does not override.
os.environ["DJANGO_SETTINGS_MODULE"] = "distillhub.settings"

from distillhub.settings import *  # noqa: E402, F403
