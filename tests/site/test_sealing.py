"""The secrets that seal keys are changed, kept and looked after from the command line."""

import argparse
import shutil
from pathlib import Path

import pytest

from distillhub.lib import secrets, snapshots
from projects.models import ApiKey, Project
from projects.services import api_keys
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(project: Project) -> ApiKey:
    version = make.model_version(project, "big", role="teacher")
    return ApiKey.objects.create(
        model=version.model,
        origin="https://api.example.com:443",
        sealed=secrets.seal("sk-0123456789"),
        ending="6789",
        changed_by=project.created_by,
    )


def test_all_keys_are_sealed_anew(kept: ApiKey) -> None:
    old = secrets.keys()
    secrets.write([secrets.make_key(), *old])
    assert api_keys.seal_again() == (1, [])
    secrets.write(secrets.keys()[:1])

    kept.refresh_from_db()
    assert secrets.unseal(kept.sealed) == "sk-0123456789"
    assert api_keys.unreadable() == []


def test_what_cannot_be_opened_is_named_and_left_as_it_is(kept: ApiKey) -> None:
    secrets.write([secrets.make_key()])
    assert api_keys.seal_again() == (0, [kept])
    assert api_keys.unreadable() == [kept]


def test_the_secrets_are_of_this_home_alone(kept: ApiKey) -> None:
    assert Path(secrets.file()).stat().st_mode & 0o077 == 0


def test_a_backup_holds_the_file_and_brings_it_back(kept: ApiKey, tmp_path: Path) -> None:
    from distillhub.cli import backup

    before = secrets.keys()
    (secrets.file().parent / "secret_key").write_text("of the sessions")
    with snapshots.writing(tmp_path / "backup") as writer:
        backup._add_home(writer)
        writer.close({})
    assert "home/secret_keys" in {one["name"] for one in writer.files}

    staging = tmp_path / "staging"
    shutil.copytree(tmp_path / "backup" / "home", staging)
    secrets.file().unlink()
    (staging / "jobs").mkdir(exist_ok=True)
    backup._place_home(staging)
    assert secrets.keys() == before
    assert secrets.file().stat().st_mode & 0o077 == 0


def test_the_doctor_names_a_key_that_cannot_be_opened_and_a_file_that_others_read(
    kept: ApiKey,
) -> None:
    from distillhub.cli import doctor

    assert [one.verdict for one in doctor._secrets()] == [doctor.OK]
    secrets.write([secrets.make_key()])
    secrets.file().chmod(0o644)
    found = list(doctor._secrets())

    assert [one.verdict for one in found] == [doctor.FAIL, doctor.FAIL, doctor.OK]
    assert "intents, big" in found[0].what
    assert "chmod 600" in found[1].todo


@pytest.mark.parametrize("forget", [False, True])
def test_the_command_seals_all_with_a_new_secret(
    kept: ApiKey, forget: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from distillhub.cli import sealing

    before = secrets.keys()
    assert sealing.rotate_keys(argparse.Namespace(forget=False)) == 0
    assert secrets.keys()[1:] == before
    if forget:
        assert sealing.rotate_keys(argparse.Namespace(forget=True)) == 0
        assert len(secrets.keys()) == 1
    kept.refresh_from_db()
    assert secrets.unseal(kept.sealed) == "sk-0123456789"
    assert "Sealed 1 keys" in capsys.readouterr().out


def test_the_command_forgets_nothing_that_is_needed(
    kept: ApiKey, capsys: pytest.CaptureFixture[str]
) -> None:
    from distillhub.cli import sealing

    secrets.write([secrets.make_key(), secrets.make_key()])
    assert sealing.rotate_keys(argparse.Namespace(forget=True)) == 1
    assert len(secrets.keys()) == 2
    assert "api.example.com" in capsys.readouterr().err
