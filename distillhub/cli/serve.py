"""The three long-running processes. Each ends with its supervisor and tells it when it is ready."""

import argparse
import logging
import os
import socket
from typing import Any

from distillhub.lib import processes

GRACE = 30  # seconds a request may still take when the web process is asked to stop


def _set_up() -> None:
    processes.belong_to_parent()
    import django

    django.setup()
    logging.captureWarnings(True)  # a line like all others
    from distillhub.cli import safety

    safety.refuse_unsafe()


def web(options: argparse.Namespace) -> int:
    _set_up()
    import uvicorn
    from django.urls import get_resolver

    from distillhub.cli.draining import Draining

    settings: dict[str, Any] = {
        "app": "distillhub.asgi:application",
        "http": Draining,
        "lifespan": "off",
        "timeout_graceful_shutdown": GRACE,
        "timeout_keep_alive": 65,
        "timeout_worker_healthcheck": 60,  # a busy machine starts no process within uvicorn's 5 s
        "log_config": None,  # its lines look like all others (settings/telemetry.py)
        "log_level": "warning",
        "server_header": False,
        "proxy_headers": False,  # BEHIND_PROXY says whether to believe them (settings/browser.py)
        "ws": "none",
    }
    if options.processes > 1:
        uvicorn.run(**settings, host=options.host, port=options.port, workers=options.processes)
        return 0

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            processes.tell_ready()

    server = Server(uvicorn.Config(**settings, host=options.host, port=options.port))
    _ = get_resolver().url_patterns  # the first visitor does not wait for the imports
    server.run(sockets=[socket.socket(fileno=options.fd)] if options.fd else None)
    return 0


def worker(options: argparse.Namespace) -> int:
    _set_up()
    # Those that concern what is served were made; the others would import every page.
    os.environ.setdefault("CELERY_SKIP_CHECKS", "true")
    from celery.beat import EmbeddedService
    from celery.signals import worker_ready
    from django.conf import settings

    from distillhub.celery import app
    from distillhub.lib import traces

    traces.begin("worker")

    def ready(**_: object) -> None:
        if options.beat:
            scheduler.start()
        processes.tell_ready()

    worker_ready.connect(ready, weak=False)
    # A thread and not a process: it saves 85 MB where worker and scheduler share a machine.
    scheduler = EmbeddedService(app, thread=True)
    # Not `worker_main`: Celery's command line takes 9 MB, for a shell among others.
    program = app.Worker(
        pool="threads",
        # One for each run this machine trains at once, and some for short jobs beside them.
        concurrency=settings.DISTILLHUB_MAX_RUNS + 3,
        queues=[name for part in options.queues.split(",") if (name := part.strip())],
        hostname=f"worker-{os.getpid()}@{socket.gethostname()}",
        loglevel="INFO",
        quiet=settings.LOG_FORMAT == "json",  # no banner between the lines
        without_mingle=True,
        without_gossip=True,
    )
    program.start()
    return program.exitcode or 0


def beat(options: argparse.Namespace) -> int:
    _set_up()
    from celery.signals import beat_init
    from django.conf import settings

    from distillhub.celery import app

    beat_init.connect(lambda **_: processes.tell_ready(), weak=False)
    app.Beat(loglevel="INFO", pidfile=None, quiet=settings.LOG_FORMAT == "json").run()
    return 0
