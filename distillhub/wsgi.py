"""WSGI entry point, for servers that want one."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "distillhub.settings")

from distillhub.lib import traces

traces.begin("web")
application = get_wsgi_application()
