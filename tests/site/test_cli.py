"""The `distillhub` command: what it prints, and with what status it ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distillhub import __version__
from distillhub.cli import main
from distillhub.supervisor import CannotStart, HomeLock, RollingLog, listen

ROOT = Path(__file__).resolve().parent.parent.parent


def distillhub(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distillhub.cli", *arguments, "--home", str(home)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DISTILLHUB_HOME"} | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with its database."""
    folder = tmp_path_factory.mktemp("home")
    migrated = distillhub(folder, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    return folder


def test_help_names_every_command_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for command in ("up", "web", "worker", "beat", "migrate", "create-token", "doctor"):
        assert re.search(rf"^    {command} +\S", shown, re.MULTILINE), command


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"DistillHub {__version__}\n"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["up", "--port", port])
    assert ended.value.code == 2
    assert "a port is a number from 1 to 65535" in capsys.readouterr().err


def test_a_token_stands_alone_on_the_last_line(home: Path) -> None:
    refused = distillhub(home, "create-token", "grace")
    assert refused.returncode == 1
    assert "add --create" in refused.stderr

    made = distillhub(home, "create-token", "grace", "--create", "--scope", "read")
    assert made.returncode == 0
    assert re.fullmatch(r"dh_[\w-]{20,}", made.stdout.splitlines()[-1])

    again = distillhub(home, "create-token", "grace")
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1] != made.stdout.splitlines()[-1]


def test_a_sign_in_link_is_one_line(home: Path) -> None:
    told = distillhub(home, "sign-in-link", SITE_URL="https://hub.example", **_allowed())
    assert told.returncode == 0
    assert re.fullmatch(r"https://hub\.example/sign-in/link/[\w-]+/\n", told.stdout)


def _allowed() -> dict[str, str]:
    return {"ALLOWED_HOSTS": "hub.example", "BEHIND_PROXY": "true"}


@pytest.mark.slow
def test_the_doctor_examines_every_part(home: Path) -> None:
    examined = distillhub(home, "doctor")
    assert examined.returncode == 0, examined.stdout + examined.stderr
    parts = ("python", "settings", "database", "broker", "storage", "torch", "machine", "backup")
    for part in parts:
        assert re.search(rf"^(ok|warn) +{part} ", examined.stdout, re.MULTILINE), part
    assert "none answers" in examined.stdout
    assert "-> Start one: distillhub up" in examined.stdout


def test_the_doctor_names_what_is_away_and_fails(home: Path) -> None:
    for part, variable, value in (
        ("database", "DATABASE_URL", "postgres://nobody@127.0.0.1:9/none"),
        ("broker", "REDIS_URL", "redis://127.0.0.1:9/0"),
    ):
        examined = distillhub(home, "doctor", "--only", part, **{variable: value})
        assert examined.returncode == 1, examined.stdout
        assert re.search(rf"^FAIL +{part} ", examined.stdout, re.MULTILINE)
        assert f"Check {variable}" in examined.stdout
        assert "Traceback" not in examined.stderr


def test_strict_doctors_take_a_warning_for_a_failure(home: Path) -> None:
    assert distillhub(home, "doctor", "--only", "workers").returncode == 0
    assert distillhub(home, "doctor", "--only", "workers", "--strict").returncode == 1
    assert distillhub(home, "doctor", "--only", "luck").returncode == 2


def test_a_migration_keeps_a_copy_of_the_database_first(tmp_path: Path) -> None:
    assert distillhub(tmp_path, "migrate").returncode == 0
    undone = subprocess.run(
        [sys.executable, "manage.py", "migrate", "training", "0001_squashed_0031", "-v0"],
        cwd=ROOT,
        env=os.environ | {"DISTILLHUB_HOME": str(tmp_path)},
        check=False,
        capture_output=True,
    )
    assert undone.returncode == 0, undone.stderr
    migrated = distillhub(tmp_path, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    copy = re.search(r"Kept a copy of the database: (\S+)", migrated.stdout)
    assert copy
    assert Path(copy.group(1)).read_bytes().startswith(b"SQLite format 3")


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    started = distillhub(tmp_path / "file" / "home", "up")
    assert started.returncode == 1
    assert "cannot be made" in started.stderr
    assert "Traceback" not in started.stderr


def test_a_home_is_locked_by_one_supervisor(tmp_path: Path) -> None:
    held = HomeLock(tmp_path)
    held.tell("http://127.0.0.1:8000")
    with pytest.raises(CannotStart, match=r"already runs in .*http://127\.0\.0\.1:8000"):
        HomeLock(tmp_path)
    held.file.close()
    HomeLock(tmp_path).file.close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotStart, match=r"This machine has no address 203\.0\.113\.7"):
        listen("203.0.113.7", 8000)


def test_logs_roll_over_and_keep_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distillhub.supervisor.LOG_BYTES", 100)
    log = RollingLog(tmp_path / "logs" / "web.log")
    for number in range(40):
        log.write(b"line %02d of a log that rolls over\n" % number)
    log.file.close()
    kept = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert kept == ["web.1.log", "web.2.log", "web.3.log", "web.log"]
    assert log.tail[-1] == b"line 39 of a log that rolls over"
