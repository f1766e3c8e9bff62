"""What events, comments and favourites are about: named by a kind and a reference in a project.

    run 12 · study 3 · dataset_version intents@3 · model small · monitor intents-live

They are named and not pointed at, so what is said of a thing outlives no thing by accident: who
deletes one calls `forget`. Which rows there are behind the kinds of another app tells its module
that its AppConfig names as `subjects`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast
from urllib.parse import quote

from django.apps import apps
from django.conf import settings
from django.db.models import QuerySet

from distillhub.lib.errors import Invalid, Missing
from projects.models import (
    Comment,
    Dataset,
    DatasetVersion,
    Favourite,
    ModelVersion,
    Project,
    RegisteredModel,
    ReviewQueue,
)

#: The page of each kind below `/p/<project>/`; `{}` is its reference, `{0}` and `{1}` the two sides
#: of an @. A law holds them against the addresses that there are (tests/projects/test_subjects.py).
PLACES = {
    "project": "",
    "run": "runs/{}/",
    "study": "studies/{}/",
    "dataset": "datasets/{}/",
    "dataset_version": "datasets/{0}/{1}/",
    "model": "models/{}/",
    "model_version": "models/{0}/{1}/",
    "monitor": "monitors/{}/",
    "incident": "incidents/{}/",
    "retraining": "retrainings/{}/",
    "report": "reports/{}/",
    "review": "reviews/{}/",
    "import": "runs/import/{}/",
    "member": "settings/",
}
#: What each kind is called before its reference.
WORDS = {
    "dataset_version": "dataset",
    "model_version": "model",
    "model": "model",
    "review": "review",
}
#: What people can talk about, and what they can keep at hand.
DISCUSSED = ("run", "study", "dataset_version", "model_version")
KEPT = ("project", "run", "study", "dataset", "model", "monitor")
LONGEST = 300  # characters of a reference


@dataclass(frozen=True, slots=True)
class Subject:
    kind: str
    reference: str
    title: str  # what it is called
    people: frozenset[int] = frozenset()  # ids of those whose it is

    @property
    def key(self) -> str:
        """As addresses and bodies name it: `run/12`."""
        return f"{self.kind}/{self.reference}"

    @property
    def said(self) -> str:
        """In a sentence: `run 12, small, no teacher`, `dataset intents@3`."""
        return said(self.kind, self.reference, self.title)


class Further(Protocol):
    def find(self, *, project: Project, kind: str, reference: str) -> Subject | None:
        """None where the project has none such, or the kind is not its own."""
        ...


def find(*, project: Project, kind: str, reference: str) -> Subject:
    """Raises Missing."""
    found = None
    if "\x00" not in reference and len(reference) <= LONGEST:
        found = _own(project, kind, reference) or _further().find(
            project=project, kind=kind, reference=reference
        )
    if found is None:
        raise Missing(f"There is no {WORDS.get(kind, kind)} {reference[:100]} in this project.")
    return found


def people_of(*, project: Project, kind: str, reference: str) -> frozenset[int]:
    """Ids of those whose it is: who launched, made or owns it. Nobody where it is gone."""
    try:
        return find(project=project, kind=kind, reference=reference).people
    except Missing:
        return frozenset()


def parsed(text: str, *, among: tuple[str, ...]) -> tuple[str, str]:
    """Kind and reference of `run/12` or `dataset_version/intents@3`. Raises Invalid."""
    kind, _, reference = text.partition("/")
    if kind not in among or (not reference and kind != "project"):
        sentence = f"Name it by its kind and reference, such as run/12; kinds: {', '.join(among)}."
        raise Invalid(f"subject: {sentence}", fields={"subject": [sentence]})
    return kind, reference


def said(kind: str, reference: str, title: str) -> str:
    word = WORDS.get(kind, kind)
    if kind == "project":
        return f"the project {title}"
    if title in ("", reference, f"{word} {reference}"):
        return f"{word} {reference}"
    return f"{word} {reference}, {title}"


def path(*, slug: str, kind: str, reference: str) -> str:
    """The address of its page; of a kind without one that of the project. Made without the URL
    configuration, which a worker does not load."""
    place = PLACES.get(kind, "")
    name, _, number = reference.rpartition("@")
    if "{0}" in place and not (name and number.isdecimal()):
        place = ""
    made = place.format(quote(name, safe=""), number) if "{0}" in place else ""
    if place and not made:
        made = place.format(quote(reference, safe="@"))
    return f"/p/{slug}/{made}"


def link(*, slug: str, kind: str, reference: str) -> str:
    """The same with the host, for messages."""
    return f"{settings.SITE_URL.rstrip('/')}{path(slug=slug, kind=kind, reference=reference)}"


def renamed(
    *, project: Project, kind: str, reference: str, title: str, now: str | None = None
) -> None:
    """Whoever keeps it at hand knows it by its new name; `now` is its reference, where that is a
    name and changed with it."""
    kept = Favourite.objects.filter(project=project, subject_kind=kind, subject=reference)
    kept.update(title=title[:300], subject=reference if now is None else now)


def forget(*, project: Project, kind: str, reference: str) -> None:
    """It is deleted: nobody keeps it at hand, and what was said of it goes, so that another of the
    same name begins anew. In the transaction that deletes it."""
    named = {"project": project, "subject_kind": kind, "subject": reference}
    Favourite.objects.filter(**named).delete()
    Comment.objects.filter(**named).delete()


def _own(project: Project, kind: str, reference: str) -> Subject | None:
    """One query."""
    if kind == "project":
        return Subject(kind, "", project.name) if not reference else None
    name, _, number = reference.rpartition("@")
    rows: QuerySet[Any]
    match kind:
        case "dataset":
            rows = Dataset.objects.filter(project=project, name=reference)
        case "model":
            rows = RegisteredModel.objects.filter(project=project, name=reference)
        case "dataset_version" if name and _is_whole(number):
            rows = DatasetVersion.objects.filter(
                dataset__project=project, dataset__name=name, number=int(number)
            )
        case "model_version" if name and _is_whole(number):
            rows = ModelVersion.objects.filter(
                model__project=project, model__name=name, number=int(number)
            )
        case "review" if _is_whole(reference):
            rows = ReviewQueue.objects.filter(project=project, pk=int(reference))
        case _:
            return None
    found = rows.values_list("name" if kind == "review" else "pk", "created_by").first()
    if found is None:
        return None
    title = str(found[0]) if kind == "review" else reference
    return Subject(kind, reference, title, frozenset(found[1:2]))


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


@cache
def _further() -> Further:
    named = [one.subjects for one in apps.get_app_configs() if hasattr(one, "subjects")]
    return cast(Further, importlib.import_module(named[0]))
