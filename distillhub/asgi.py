"""ASGI entry point: `uvicorn distillhub.asgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "distillhub.settings")
django.setup(set_prefix=False)

from distillhub.lib import traces  # noqa: E402
from distillhub.lib.uploads import Handler  # noqa: E402

traces.begin("web")
application = Handler()
