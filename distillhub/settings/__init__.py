"""The product's settings, one file for each subject; machines differ by environment variables, each
documented in docs/settings.md.

Without any variable everything is embedded: SQLite, Celery's filesystem transport and a local
folder, all inside DISTILLHUB_HOME.
"""

from distillhub.settings.accounts import *
from distillhub.settings.base import *
from distillhub.settings.browser import *
from distillhub.settings.database import *
from distillhub.settings.files import *
from distillhub.settings.mail import *
from distillhub.settings.queue import *
from distillhub.settings.rest import *
from distillhub.settings.telemetry import *
from distillhub.settings.workers import *
