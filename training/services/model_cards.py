"""The card of a version: what people wrote about it, and facts that are read anew each time.

---                       front matter, for hubs
# small@2
what people wrote         the newest edit; every edit is kept
the facts                 card_facts.py
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from distillhub.lib.errors import Conflict, Invalid
from distillhub.lib.later import Later
from projects.models import ModelVersion, User
from training.models import CardEdit
from training.services import card_facts

yaml = Later("yaml")

JSON = dict[str, Any]
Opener = Callable[[], IO[bytes]]

README = "README.md"
LONGEST = 50_000  # characters
BEGINNING = """\
## Intended use

What it is meant for, and by whom.

## Not meant for

Where its answers should not be relied on.

## Licence and contact

"""
BORDER = (
    "*From here on DistillHub writes what it measured. It is made anew each time; people's words "
    "stand above.*"
)


class Edited(Conflict):
    """Somebody else saved the card meanwhile."""

    code = "edited"


@dataclass(frozen=True, slots=True)
class Card:
    """Complete, as it is now."""

    version: ModelVersion
    metadata: JSON
    text: str
    facts: str
    edit: int  # the number of the newest edit; 0 before there is one

    @property
    def body(self) -> str:
        """Without the front matter."""
        parts = [f"# {self.version.reference}", self.text.strip(), BORDER, self.facts]
        return "\n\n".join(part for part in parts if part) + "\n"

    @property
    def markdown(self) -> str:
        """README.md."""
        front = yaml.safe_dump(self.metadata, sort_keys=False, allow_unicode=True)
        return f"---\n{front}---\n\n{self.body}"


def card(*, version: ModelVersion) -> Card:
    known = card_facts.Known(version)
    newest = version.card_edits.order_by("-number").first()
    return Card(
        version=version,
        metadata=card_facts.metadata(known),
        text=newest.text if newest is not None else "",
        facts=card_facts.markdown(known),
        edit=newest.number if newest is not None else 0,
    )


def write(*, version: ModelVersion, text: Any, based_on: int | None = None, by: User) -> CardEdit:
    """Save people's part. `based_on` is the edit that it was begun from: Edited is raised when
    there is a newer one. Raises Invalid for what is no text, or too long."""
    if not isinstance(text, str) or len(text) > LONGEST or "\0" in text:
        sentence = f"A card has at most {LONGEST:,} characters of text."
        raise Invalid(sentence, fields={"text": [sentence]})
    text = text.replace("\r\n", "\n").strip()
    with transaction.atomic():
        newest = CardEdit.objects.filter(version=version).order_by("-number").first()
        number = newest.number if newest is not None else 0
        if based_on is not None and based_on != number:
            raise Edited(
                "Somebody else saved the card meanwhile. Look at what they wrote, and save again.",
                fields={"text": ["It was saved meanwhile."]},
            )
        if newest is not None and newest.text == text:
            return newest
        try:
            with transaction.atomic():
                return CardEdit.objects.create(version=version, number=number + 1, text=text, by=by)
        except IntegrityError:
            raise Edited("Somebody else saved the card at this moment. Try again.") from None


def beside(
    *, version: ModelVersion, files: Sequence[tuple[str, Opener]]
) -> list[tuple[str, Opener]]:
    """Files of a version with its card among them, as downloads give them."""
    content = card(version=version).markdown.encode()
    others = [(name, opener) for name, opener in files if name != README]
    return [(README, partial(io.BytesIO, content)), *others]


def history(*, version: ModelVersion) -> QuerySet[CardEdit]:
    """Every edit, newest first."""
    return CardEdit.objects.filter(version=version).select_related("by")
