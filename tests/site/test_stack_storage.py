"""Two machines that share a database, a broker and a bucket, and no disk: one is lost for ever."""

import shutil
from pathlib import Path

import pytest

from tests.site import servers, trained
from tests.site.buckets import make_bucket
from tests.site.processes import (
    Command,
    ask,
    clean_environment,
    ended,
    family,
    free_port,
    make_token,
    until,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


def test_a_run_goes_on_on_another_machine_from_its_checkpoint_in_the_bucket(
    tmp_path: Path, s3_server: str
) -> None:
    here, there, site = (tmp_path / name for name in ("here", "there", "site"))
    with servers.postgres() as database, servers.redis(tmp_path / "redis") as broker:
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        shared = {
            "DATABASE_URL": database,
            "REDIS_URL": broker,
            "SITE_URL": address,
            "DISTILLHUB_SHARE_CHECKPOINTS_SECONDS": "0",
            "DISTILLHUB_LEASE_SECONDS": "6",
            **make_bucket(s3_server, "hub"),
        }

        def start(home: Path, *arguments: str) -> Command:
            return Command(home, *arguments, env=clean_environment(home, **shared))

        migrated = start(site, "migrate")
        assert migrated.process.wait(timeout=120) == 0, migrated.said
        web = start(site, "web", "--port", str(port))
        first = start(here, "worker", "--queues", "default", "--beat")
        with ended(web, first):
            first.until_said(r"celery.apps.worker: \S+ ready")
            token = make_token(site, clean_environment(site, **shared))
            until(lambda: _answers(address), what=lambda: web.said)
            run = trained.launch(address, token, epochs=200)

            def stored() -> int:
                _, use = ask(address, f"{trained.PROJECT}/storage/", token=token)
                return int(use["checkpoints_bytes"])

            until(stored, what=lambda: str(run()))
            for process in family(here):
                process.kill()
            first.process.wait(timeout=20)
            shutil.rmtree(here)

            second = start(there, "worker", "--queues", "default", "--beat")
            with ended(second):
                over = {"finished", "failed"}
                until(lambda: run()["status"] in over, seconds=180, what=lambda: str(run()))
                assert run()["status"] == "finished", run()
                _, timeline = ask(address, f"{trained.RUN}/events/?limit=1000", token=token)
                told = [event["sentence"] for event in timeline["results"]]
                assert any("was fetched from storage" in one for one in told), told
                assert any(one.startswith("Continued from step ") for one in told), told
        assert not (there / "files").exists()
        assert not (site / "files").exists()


def _answers(address: str) -> bool:
    try:
        return ask(address, "/readyz")[0] == 200
    except OSError:
        return False
