"""`distillhub rotate-keys`: a new secret that seals the stored keys of APIs and webhooks."""

import argparse
import sys

import django

django.setup()

from django.conf import settings

from distillhub.cli import auditing
from distillhub.lib import secrets
from projects.services import api_keys, second_factor, webhook_secrets
from training.services import alert_channels, run_imports


def rotate_keys(options: argparse.Namespace) -> int:
    """Seal all anew; with `--forget` old secrets go afterwards, if nothing needs them any more."""
    from_environment = bool(settings.DISTILLHUB_SECRET_KEYS)
    found = secrets.keys()
    if not from_environment and not options.forget:
        secrets.write([secrets.make_key(), *found])
    done, lost = api_keys.seal_again()
    channels, closed = alert_channels.seal_again()
    hooks, shut = webhook_secrets.seal_again()
    factors, unknown = second_factor.seal_again()
    imports, gone = run_imports.seal_again()
    count = done + channels + hooks + factors + imports
    auditing.note("installation.rotate_keys", forget=bool(options.forget))
    print(f"Sealed {count} keys with the newest of {len(secrets.keys())} secrets.")
    for kept in lost:
        where = f"{kept.model.project.slug}, {kept.model.name}"
        print(f"Cannot be opened here: the key of {where} for {kept.origin}.", file=sys.stderr)
    for channel in closed:
        where = f"{channel.project.slug}, {channel.name}"
        print(f"Cannot be opened here: the address of the channel {where}.", file=sys.stderr)
    for hook in shut:
        where = f"{hook.project.slug}, {hook.name}"
        print(f"Cannot be opened here: the address of the webhook {where}.", file=sys.stderr)
    for user in unknown:
        print(f"Cannot be opened here: the second factor of {user.username}.", file=sys.stderr)
    for one in gone:
        where = f"{one.project.slug}, {one.place}"
        print(f"Cannot be opened here: the token of the import {where}.", file=sys.stderr)
    if lost or closed or shut or unknown or gone:
        print("Enter these keys again, or add the secret that sealed them.", file=sys.stderr)
        return 1
    if from_environment:
        print("Older ones may leave DISTILLHUB_SECRET_KEYS once every process knows the newest.")
    elif options.forget:
        secrets.write(secrets.keys()[:1])
        print("Forgot all older secrets.")
    else:
        print("Older ones are kept for a while. `distillhub rotate-keys --forget` forgets them.")
    return 0
