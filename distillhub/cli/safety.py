"""Nothing is served with settings that are known to be unsafe or broken."""

import logging
import sys

from django.conf import settings
from django.core import checks

from distillhub.checks import TAG
from distillhub.supervisor import CannotStart

log = logging.getLogger(__name__)


def refuse_unsafe() -> None:
    """Print the warnings of our system checks; raises CannotStart with the errors."""
    found = checks.run_checks(tags=[TAG])
    errors = [_told(message) for message in found if message.level >= checks.ERROR]
    for message in found:
        if message.level < checks.ERROR:
            if settings.LOG_FORMAT == "json":
                log.warning("%s", _told(message))
            else:
                print(f"Warning: {_told(message)}", file=sys.stderr)
    if errors:
        raise CannotStart("\n".join(errors))


def _told(message: checks.CheckMessage) -> str:
    return f"{message.msg} {message.hint or ''} ({message.id})"
