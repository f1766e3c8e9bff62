"""Ways in for the person at the terminal: a link, a token."""

import argparse
import contextlib
import json
import os
import sys

import django

django.setup()

from django.conf import settings
from django.urls import reverse

from distillhub.cli import auditing
from projects.models import User
from projects.services import accounts, second_factor

ADMINISTRATOR = "admin"


def administrator() -> User:
    """The local administrator, made at the first start without a password."""
    user, made = User.objects.get_or_create(
        username=ADMINISTRATOR, defaults={"is_staff": True, "is_superuser": True}
    )
    if made:
        user.set_unusable_password()
        user.save()
    return user


def link(user: User) -> str:
    """The path of a link that signs `user` in, once."""
    token = accounts.make_sign_in_link(user=user)
    auditing.note("person.sign_in_link", subject=user.username)
    return reverse("projects:sign_in_link", args=[token])


def sign_in_link(options: argparse.Namespace) -> int:
    address = os.environ.get("SITE_URL", "") or running_address()
    print(address + link(administrator()))
    return 0


def running_address() -> str:
    """Where `distillhub up` answers on this home, as its lock file tells."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads((settings.DISTILLHUB_HOME / "up.lock").read_text())["address"])
    return settings.SITE_URL


def create_token(options: argparse.Namespace) -> int:
    user = User.objects.filter(username=options.username).first()
    if user is None and not options.create:
        print(f"There is no user {options.username!r}; add --create to make one.", file=sys.stderr)
        return 1
    if user is None:
        user = User.objects.create_user(options.username)
        auditing.note("person.create", subject=user.username)
        print(f"Made the user {user.username}.")
    token, raw = accounts.create_token(user=user, name=options.name, scope=options.scope)
    auditing.note("token.create", subject=user.username, name=token.name, scope=token.scope)
    print(f"A {token.scope} token for {user.username}; it is shown this once:")
    print(raw)
    return 0


def reset_second_factor(options: argparse.Namespace) -> int:
    """For the administrator above all, whom no other administrator can help."""
    user = User.objects.filter(username=options.username).first()
    if user is None:
        print(f"There is no user {options.username!r}.", file=sys.stderr)
        return 1
    had_one = second_factor.reset(user=user)
    auditing.note("person.reset_second_factor", subject=user.username)
    print(f"{user.username} has no second factor any more." if had_one else "There was none.")
    return 0
