"""`manage.py describe_events`: the list of docs/webhooks.md, made of the kinds that there are."""

import textwrap
from typing import Any

from django.core.management.base import BaseCommand

from projects.models import event_kinds


class Command(BaseCommand):
    help = "Print the kinds of events as docs/webhooks.md has them, from `## Every type` on."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(listed(), ending="")


def listed() -> str:
    """Of each kind when it is told, and its facts."""
    lines = [
        "What stands under `facts`, by type. A question mark says that it may be null; a `time` is "
        "text in ISO 8601,",
        "`texts` a list of them.",
        "",
    ]
    said: dict[int, str] = {}
    for kind in event_kinds.KINDS.values():
        lines += [f"### `{kind.key}`", "", *textwrap.wrap(kind.when, 120), ""]
        before = said.setdefault(id(kind.facts), kind.key)
        if before != kind.key:
            lines += [f"Facts as of `{before}`.", ""]
            continue
        lines += ["| fact | type | what |", "|---|---|---|"]
        lines += [f"| `{name}` | {one.type} | {one.means} |" for name, one in kind.facts.items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
