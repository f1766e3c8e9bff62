"""Celery's broker, what is done again and again, and when what a machine holds is another's.

A message is only a wake-up call; the row of a run owns the run (docs/architecture.md).
"""

from distillhub.lib import broker, env
from distillhub.settings.base import DISTILLHUB_HOME

REDIS_URL = env.text("REDIS_URL")
if REDIS_URL:
    broker.register_redis()
    CELERY_BROKER_URL = REDIS_URL
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {
        "visibility_timeout": 3600,
        # Without these two a lost message is only swept every 100 s, whatever the time-out.
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "health_check_interval": 10,
    }
else:
    _broker = DISTILLHUB_HOME / "broker"
    for _folder in ("queue", "control", "processed"):
        (_broker / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_URL = broker.register()
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "queue"),
        "data_folder_out": str(_broker / "queue"),
        "processed_folder": str(_broker / "processed"),
        "control_folder": str(_broker / "control"),
        "store_processed": False,
        "polling_interval": 0.1,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.2}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE_FILENAME = str(DISTILLHUB_HOME / "beat-schedule")
# What a worker holds is another's when it was silent for so long. It says that it lives four times
# within, and three times it is looked who does not.
DISTILLHUB_LEASE_SECONDS = max(5, env.integer("DISTILLHUB_LEASE_SECONDS", 45))
# A session of PostgreSQL that does nothing with its transaction for so long is ended: what froze
# within one holds what others take over when its lease is over. 0: as the server has it.
DISTILLHUB_IDLE_TRANSACTION_SECONDS = env.integer(
    "DISTILLHUB_IDLE_TRANSACTION_SECONDS", max(30, DISTILLHUB_LEASE_SECONDS)
)

#: What is done again and again: a name, the job, and the seconds between two.
_AGAIN = [
    ("requeue lost runs", "training.reap", DISTILLHUB_LEASE_SECONDS / 3),
    ("tell of events, and send what is due", "training.fan_out_events", 15.0),
    ("look at retrainings", "training.look_at_retrainings", 15.0),
    ("free what nothing names", "training.sweep_storage", 6 * 3600.0),
    ("delete what deleted runs measured", "training.sweep_metrics", 60.0),
    ("refresh the planner's statistics", "training.refresh_statistics", 3600.0),
    ("forget abandoned uploads", "projects.forget_uploads", 3600.0),
    ("forget old guesses", "projects.forget_guesses", 3600.0),
    ("requeue lost ingestions", "projects.requeue_ingestions", DISTILLHUB_LEASE_SECONDS / 3),
]
# Messages go stale by the clocks of two machines, which may be hours apart.
CELERY_BEAT_SCHEDULE = {
    name: {"task": task, "schedule": seconds, "options": {"expires": 3 * 3600}}
    for name, task, seconds in _AGAIN
}
