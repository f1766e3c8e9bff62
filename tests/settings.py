"""The product's settings, in a home of the tests' own: never the developer's.

A module and not a line of conftest.py, because pytest-django reads settings before any conftest.

`TEST_DATABASE=postgres` runs the tests on a PostgreSQL that this process starts and ends.
"""

import atexit
import contextlib
import os
import shutil
import tempfile

from tests.site import servers

# Of each process its own, also of those that pytest-xdist starts: in one home they would count
# each other's messages.
_process = os.environ.get("PYTEST_XDIST_WORKER", "alone")
_home = tempfile.mkdtemp(prefix=f"distillhub-test-{_process}-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["DISTILLHUB_HOME"] = _home
# What the tests start (a supervisor, a worker) reads the product's own settings. pytest itself is
# told of these by `--ds`, which such a variable does not override.
os.environ["DJANGO_SETTINGS_MODULE"] = "distillhub.settings"

# A PostgreSQL of each process, too: none waits for the other's, and the kernel ends it with us.
_servers = contextlib.ExitStack()
atexit.register(_servers.close)
if os.environ.get("TEST_DATABASE") == "postgres":
    os.environ["DATABASE_URL"] = _servers.enter_context(servers.postgres())

# One test for each core runs at a time, and small models are not sooner done by two threads that
# wait for each other.
os.environ["OMP_NUM_THREADS"] = os.environ["DISTILLHUB_RUN_THREADS"] = "1"

from distillhub.settings import *  # noqa: E402, F403

# A test is one transaction, in which it may train for minutes.
DISTILLHUB_IDLE_TRANSACTION_SECONDS = 0

# What the tests start has a home, and with it a database, of its own.
os.environ.pop("DATABASE_URL", None)
