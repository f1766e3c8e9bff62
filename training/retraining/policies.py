"""Setting the policy of a monitor."""

from typing import Any

from projects.models import User
from training.models import Monitor
from training.services import monitors, retraining_policy


def keep(*, monitor: Monitor, asked: Any, by: User) -> Monitor:
    """What is left out becomes the default again; what has begun goes on as it began. Raises
    Invalid."""
    complete = retraining_policy.complete(asked)
    return monitors.edit(monitor=monitor, asked={"retraining": complete}, by=by)
