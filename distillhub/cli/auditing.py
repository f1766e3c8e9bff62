"""`distillhub audit verify` and `distillhub audit export`; and commands into the log themselves."""

import argparse
import getpass
import sys

import django

django.setup()

from django.db import DatabaseError

from projects.models import Project
from projects.services import audit, audit_files


def audit_log(options: argparse.Namespace) -> int:
    return _verify(options) if options.what == "verify" else _export(options)


def _verify(options: argparse.Namespace) -> int:
    """Exit status 1 where the chain is broken."""
    try:
        found = audit.verify(against=options.against or "")
    except ValueError as fault:
        print(fault, file=sys.stderr)
        return 2
    if found.fault:
        print(found.fault, file=sys.stderr)
        print(f"The {found.entries:,} entries before it are as they were written.")
        return 1
    print(f"{found.entries:,} entries, each as it was written. The head is")
    print(found.head)
    return 0


def _export(options: argparse.Namespace) -> int:
    project = None
    if options.project:
        project = Project.objects.filter(slug=options.project).first()
        if project is None:
            print(f"There is no project {options.project!r}.", file=sys.stderr)
            return 1
    entries = audit.found(project=project)
    pieces = audit_files.table(entries) if options.csv else audit_files.lines(entries)
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()
    return 0


def note(action: str, *, subject: str = "", **detail: object) -> None:
    """That whoever sits at this machine's terminal did it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a number that has no name, as in some containers
        name = ""
    try:
        audit.record(action, by=f"{name} (terminal)", subject=subject, detail=detail, via="command")
    except DatabaseError as fault:  # of a version before there was a log, or away
        print(f"Not in the audit log: {fault}", file=sys.stderr)
