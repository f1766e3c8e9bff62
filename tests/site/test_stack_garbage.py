"""What is in the queue and is no message ends no worker, in a real Redis."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import celery
import pytest
import redis

from tests.site import servers
from tests.site.processes import Command, clean_environment, ended, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


def message(**changes: Any) -> dict[str, Any]:
    """As Celery writes them; no worker of ours knows its job."""
    body = base64.b64encode(b"[[], {}, {}]").decode()
    delivery = {"exchange": "", "routing_key": "default"}
    properties = {"delivery_tag": "t", "delivery_info": delivery, "body_encoding": "base64"}
    whole = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "no.such.job", "id": "i"},
        "properties": properties,
    }
    return whole | changes


def garbage(canary: Path) -> list[bytes]:
    fine = message()["properties"]
    shapes: list[Any] = [
        5,
        None,
        "text",
        [],
        {},
        {"properties": 7},
        {"properties": {}},
        message(properties=fine | {"delivery_tag": {}}),
        message(properties=fine | {"delivery_info": {}}),
        message(properties=fine | {"delivery_info": None}),
        message(properties=fine | {"body_encoding": "no such"}),
        message(body="no base64"),
        message(body=5),
        message(headers=[]),
        message(headers="task"),
        message(headers={"task": {}}),
        message(headers={"task": "training.reap", "id": {}, "eta": [], "retries": "x"}),
        message(headers={"task": "training.reap", "id": "i", "compression": "zlib"}),
        message(headers={}, body=base64.b64encode(b'{"task": {}}').decode()),
        message(**{"content-type": "application/x-python-serialize"}),
        message(**{"content-type": {}, "content-encoding": []}),
        {"__type__": "datetime", "__value__": "never"},
    ]
    # A pickle that makes a folder: os.mkdir(canary).
    pickled = b"cos\nmkdir\n(S'" + str(canary).encode() + b"'\ntR."
    raw = [b"", b"\x00", b"\xff\xfe\x80", b"{", b"[" * 100_000, os.urandom(3000), b"1" * 5000]
    return [*raw, pickled, *(json.dumps(one).encode() for one in shapes)]


def test_no_garbage_ends_a_worker_and_none_of_it_is_executed(tmp_path: Path) -> None:
    home, canary = tmp_path / "home", tmp_path / "canary"
    with servers.redis_server(tmp_path / "redis") as server:
        env = clean_environment(home, REDIS_URL=server.address, LOG_LEVEL="INFO")
        migrated = Command(home, "migrate", env=env)
        assert migrated.process.wait(timeout=120) == 0, migrated.said
        worker = Command(home, "worker", "--queues", "default", env=env)
        with ended(worker), redis.Redis.from_url(server.address) as store:
            worker.until_said(r"celery.apps.worker: \S+ ready")

            def taken() -> bool:
                """All that was in the queue, and nothing lies about that was not."""
                assert worker.process.poll() is None, worker.said[-3000:]
                return not store.llen("default") and not store.hlen("unacked")

            for item in garbage(canary):
                store.lpush("default", item)
                until(taken, what=lambda: worker.said[-3000:])  # each by itself may end it
            for item in garbage(canary):
                store.publish("/0.celery.pidbox", item)
            # Not the current one: tests after this would send their messages to that Redis.
            with celery.Celery(broker=server.address, set_as_current=False) as app:
                app.send_task("no.such.job", queue="default")  # the last one that comes through
                until(lambda: worker.said.count("'no.such.job'") > 0, what=lambda: worker.said)
                until(lambda: app.control.ping(timeout=3), what=lambda: worker.said[-6000:])
            until(taken)
        said = worker.said
        assert "A message of 3000 bytes in the queue default is dropped. It is not JSON" in said
        assert "A message of 1 bytes in the queue default is dropped. Celery has not" in said
        assert "Unrecoverable" not in said
        assert not canary.exists()
