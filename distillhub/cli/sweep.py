"""`distillhub storage`: what lies in storage, what nothing names any more, and freeing it."""

import argparse
import sys

import django

django.setup()

from django.template.defaultfilters import filesizeformat

from distillhub.cli import auditing
from distillhub.lib import sweeping
from distillhub.lib.storage import Away
from distillhub.lib.sweeping import Count
from training.worker import retention


def storage(options: argparse.Namespace) -> int:
    """A dry run, unless `--free` is given."""
    try:
        swept = retention.sweep_storage(dry=not options.free, even_so=options.even_so)
    except (Away, sweeping.Doubtful) as error:
        print(error.detail, file=sys.stderr)
        return 1
    _tell("Named by rows", swept.named)
    _tell("Stored within a day, without a row yet", swept.recent)
    _tell("Named by nothing", swept.orphans)
    if options.free:
        _tell("Freed", swept.freed)
        auditing.note("storage.sweep", files=swept.freed.files, bytes=swept.freed.bytes)
    elif swept.orphans.files:
        for name in swept.names[: options.show]:
            print(f"  {name}")
        print("Nothing was freed. `distillhub storage --free` frees what nothing names.")
    if swept.is_doubtful and not options.free:
        print("That is more than half of all: does DATABASE_URL name the database of these files?")
    return 0


def _tell(what: str, count: Count) -> None:
    size = filesizeformat(count.bytes).replace("\xa0", " ")
    print(f"{what}: {count.files} files, {size}")
