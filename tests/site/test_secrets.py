"""Keys of APIs are sealed with a key that lies outside the database."""

import stat
from pathlib import Path

import pytest
from django.conf import LazySettings

from distillhub.lib import secrets


def test_what_is_sealed_is_read_again_and_says_nothing() -> None:
    sealed = secrets.seal("sk-0123456789")
    assert "0123456789" not in sealed
    assert secrets.unseal(sealed) == "sk-0123456789"
    assert secrets.seal("sk-0123456789") != sealed


def test_the_sealing_key_is_made_once_and_only_its_owner_reads_it(settings: LazySettings) -> None:
    first = secrets.keys()
    assert secrets.keys() == first
    file = Path(settings.DISTILLHUB_HOME) / "secret_keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["secret_keys"]


def test_a_new_key_seals_and_the_old_one_still_opens(settings: LazySettings) -> None:
    sealed = secrets.seal("sk-0123456789")
    old = secrets.keys()
    secrets.write([secrets.make_key(), *old])
    assert secrets.unseal(sealed) == "sk-0123456789"

    again = secrets.seal_again(sealed)
    secrets.write(secrets.keys()[:1])
    assert secrets.unseal(again) == "sk-0123456789"
    with pytest.raises(secrets.Unreadable, match="DISTILLHUB_SECRET_KEYS"):
        secrets.unseal(sealed)


def test_keys_of_the_environment_come_before_the_file(settings: LazySettings) -> None:
    settings.DISTILLHUB_SECRET_KEYS = [secrets.make_key()]
    secrets.seal("sk-0123456789")
    assert not secrets.file().exists()


@pytest.mark.parametrize("key", ["", "short", "!" * 44, "A" * 40])
def test_something_else_is_no_key(settings: LazySettings, key: str) -> None:
    settings.DISTILLHUB_SECRET_KEYS = [key]
    with pytest.raises(secrets.BadKeys, match="DISTILLHUB_SECRET_KEYS"):
        secrets.seal("sk-0123456789")


def test_of_a_key_four_characters_are_shown_and_of_a_short_one_none() -> None:
    assert secrets.ending("sk-0123456789") == "6789"
    assert secrets.ending("password") == ""


def test_a_secret_is_taken_out_of_what_others_say() -> None:
    told = "Incorrect key sk-0123456789 (Bearer sk-0123456789)"
    assert secrets.without("sk-0123456789", told) == "Incorrect key … (Bearer …)"
    assert "wJalrXUtnFEMI" not in secrets.without(
        "AKIA0123456789:wJalrXUtnFEMI", "wJalrXUtnFEMI is no secret of AKIA0123456789"
    )
