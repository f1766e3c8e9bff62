"""The tests' own ground: several processes share this machine, and none of them a queue."""

import os
from pathlib import Path

from django.conf import settings


def test_every_process_of_a_test_run_has_a_queue_of_its_own() -> None:
    """Else one counts the other's messages, or finds that it has moved the queue away."""
    ours = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    home = Path(os.environ["DISTILLHUB_HOME"])
    assert home.name.startswith(f"distillhub-test-{ours}-")
    queue = str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"])
    assert Path(queue).is_relative_to(home)
    # What a test starts is the product, in that home.
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "distillhub.settings"
